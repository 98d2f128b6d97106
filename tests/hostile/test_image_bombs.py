"""Small files that exhaust a naive reader are refused or cheap to read."""

from __future__ import annotations

import io
import itertools
import resource
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whichgen.data.dataset import list_images
from whichgen.data.images.decoding import (
    FORMATS,
    MAX_RATIO,
    MAX_SCANS,
    decode_image,
    read_bytes,
    read_header,
)
from whichgen.errors import ImageError
from whichgen.evidence.collect import collect


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG's chunk."""
    return struct.pack(">I", len(content)) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def png(width: int, height: int, pixels: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """An RGB PNG of these compressed pixels and of further chunks before them."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    chunks = [head, *(chunk(*one) for one in extra), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# What Pillow warns of is refused, or read all the same.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")

#: A hundred million zeros in 100 KB.
ZEROS = zlib.compress(bytes(100_000_000), 9)


@pytest.fixture
def cheap() -> Callable[..., None]:
    """Looks at a file in a process of its own, that may hold so many MiB more than an empty one."""

    def check(file: Path, *, says: str, most: int = 100) -> None:
        script = (
            "import resource, sys; from pathlib import Path\n"
            "from whichgen.data.images.decoding import decode_image\n"
            "from whichgen.errors import ImageError\n"
            "data = Path(sys.argv[1]).read_bytes()\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "try: print(decode_image(data).size)\n"
            "except ImageError as error: print(error)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
        )
        process = subprocess.run(
            [sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=True
        )
        message, growth = process.stdout.splitlines()
        assert says in message
        assert int(growth) < most * 1024, f"{int(growth) >> 10} MiB"

    return check


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (png(8, 8, ZEROS), "(8, 8)"),
        (png(13_000, 13_000, zlib.compress(b"")), "truncated"),
        (png(8, 8, zlib.compress(bytes(200)), (b"iCCP", b"x\0\0" + ZEROS)), "too large"),
        (png(8, 8, zlib.compress(bytes(200)), (b"zTXt", b"x\0\0" + ZEROS)), "(8, 8)"),
        (png(8, 8, zlib.compress(bytes(200)), (b"iTXt", b"x\0\1\0\0\0" + ZEROS)), "(8, 8)"),
        (
            png(
                8, 8, zlib.compress(bytes(200)), *([(b"iTXt", b"x\0\1\0\0\0" + ZEROS[:3000])] * 99)
            ),
            "(8, 8)",
        ),
    ],
    ids=["many-pixels", "few-pixels", "profile", "ztxt", "itxt", "cut-texts"],
)
def test_png_bomb_costs_little(
    tmp_path: Path, cheap: Callable[..., None], content: bytes, says: str
) -> None:
    (tmp_path / "a.png").write_bytes(content)
    # Pillow takes room for pixels before it looks for them, which the system gives when written to.
    cheap(tmp_path / "a.png", says=says)


def jpeg(scans: int) -> bytes:
    """A progressive JPEG whose last scan is there again and again."""
    data = encode(Image.new("L", (64, 64)), "JPEG", progressive=True)
    starts = [i for i in range(len(data)) if data[i : i + 2] == b"\xff\xda"]
    last = data[starts[-1] : -2]
    return data[:-2] + last * (scans - len(starts)) + b"\xff\xd9"


def test_jpeg_with_many_scans_is_refused() -> None:
    assert decode_image(jpeg(MAX_SCANS)).size == (64, 64)
    for scans in (MAX_SCANS + 1, 10_000):
        with pytest.raises(ImageError, match=f"over {MAX_SCANS} scans; save it as a baseline"):
            decode_image(jpeg(scans))
        with pytest.raises(ImageError, match="scans"):
            collect(jpeg(scans))


@pytest.mark.parametrize("hidden", [b"\xff\x01", b"\xff\xd3", b"\xff\xff\xff", b"\xff\x00"])
def test_markers_without_length_do_not_hide_scans(hidden: bytes) -> None:
    data = jpeg(200)
    starts = [i for i in range(len(data)) if data[i : i + 2] == b"\xff\xda"]
    at = starts[50]
    # What would be read as a length reaches over all that follow.
    for filler in (b"", b"\xff\xff", b"\x7f\xff"):
        with pytest.raises(ImageError):
            decode_image(data[:at] + hidden + filler + data[at:])


def test_fake_scan_markers_are_not_counted() -> None:
    plain = encode(Image.effect_noise((64, 64), 90).convert("RGB"), "JPEG", quality=95)
    fake = b"\xff\xda\0\2" * 500
    inside = plain[:2] + b"\xff\xfe" + (len(fake) + 2).to_bytes(2) + fake + plain[2:]
    for data in (inside, plain + fake, plain + jpeg(3000)):
        assert np.array_equal(np.asarray(decode_image(data)), np.asarray(decode_image(plain)))


@pytest.mark.parametrize("size", [(MAX_RATIO + 1, 1), (1, 65_000), (65_000, 300)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_line_of_pixels_is_refused(size: tuple[int, int], kind: str) -> None:
    data = encode(Image.new("L", size), kind)
    for read in (decode_image, read_header, collect):
        with pytest.raises(ImageError, match=r"aspect ratio over 200 .*; crop it"):
            read(data)
    assert decode_image(encode(Image.new("L", (MAX_RATIO, 1)), kind)).size == (MAX_RATIO, 1)


def icon(inner: bytes, side: int = 16) -> bytes:
    """An icon whose list says that the file in it is of side × side pixels."""
    entry = struct.pack("<BBBBHHII", side, side, 0, 0, 1, 32, len(inner), 22)
    return b"\0\0\1\0\1\0" + entry + inner


def test_icon_size_is_that_of_the_embedded_file() -> None:
    data = icon(encode(Image.new("RGB", (300, 200), "red"), "PNG"))
    result = read_header(data)
    assert (result.format, result.width, result.height) == ("ICO", 300, 200)
    assert decode_image(data).size == (300, 200)


def test_icon_cannot_hide_a_bomb() -> None:
    huge = png(20_000, 10_000, zlib.compress(b""))
    with pytest.raises(ImageError, match="limit of 178 million"):
        read_header(icon(huge))
    large = png(10_000, 10_000, zlib.compress(b""))  # not decoded before its size is known
    assert read_header(icon(large)).width == 10_000


def tiff(**fields: int) -> bytes:
    """A TIFF of 16 × 16 pixels with other values: ``width``, ``count`` of the first field …"""
    data = bytearray(encode(Image.new("RGB", (16, 16)), "TIFF"))
    (at,) = struct.unpack("<I", data[4:8])
    (n,) = struct.unpack("<H", data[at : at + 2])
    numbers = {
        "width": 256,
        "height": 257,
        "offset": 273,
        "samples": 277,
        "rows": 278,
        "bytes": 279,
    }
    for name, value in fields.items():
        if name == "next":
            data[at + 2 + 12 * n : at + 6 + 12 * n] = struct.pack("<I", at if value else 0)
        elif name == "fields":
            data[at : at + 2] = struct.pack("<H", value)
        else:
            entries = (at + 2 + 12 * i for i in range(n))
            number = numbers.get(name, 256)
            place = next(e for e in entries if struct.unpack("<H", data[e : e + 2])[0] == number)
            first = place + (4 if name == "count" else 8)
            data[first : first + 4] = struct.pack("<I", value)
    return bytes(data)


@pytest.mark.parametrize(
    "fields",
    [
        *({"width": 2**31 - 1}, {"height": 2**32 - 1}, {"width": 60_000, "height": 60_000}),
        *({"offset": 2**32 - 1}, {"bytes": 2**32 - 1}, {"count": 2**32 - 1}, {"rows": 0}),
        *({"rows": 2**32 - 1}, {"samples": 65_535}, {"fields": 65_535}, {"next": 1}, {"rows": 1}),
    ],
    ids=str,
)
def test_forged_tiff_is_refused_or_read_immediately(fields: dict[str, int]) -> None:
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (decode_image, collect):
        try:
            read(tiff(**fields))  # type: ignore[operator]
        except ImageError:
            continue
    assert time.process_time() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def test_only_one_of_thousands_of_frames_is_read() -> None:
    frames = [Image.new("P", (16, 16), i % 7) for i in range(3000)]
    for frame, i in zip(frames, itertools.count()):
        frame.putpixel((i % 16, i // 16 % 16), 9)
    start = time.process_time()
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    spent = time.process_time() - start
    assert data.count(b"\x2c") > 2000
    start = time.process_time()
    assert decode_image(data).size == (16, 16)
    collect(data)
    assert time.process_time() - start < max(0.05, 0.1 * spent)


@pytest.mark.parametrize("size", [(65_535, 65_535), (65_535, 3000)])
def test_gif_screen_size_is_checked(size: tuple[int, int]) -> None:
    data = bytearray(encode(Image.new("P", (4, 4)), "GIF"))
    data[6:10] = struct.pack("<HH", *size)
    with pytest.raises(ImageError, match="178 million"):
        decode_image(bytes(data))


def test_large_16_bit_image_needs_little_memory(tmp_path: Path, cheap: Callable[..., None]) -> None:
    side = 4000
    (tmp_path / "a.png").write_bytes(encode(Image.new("I;16", (side, side)), "PNG"))
    numbers = 8 * side * side / 2**20
    cheap(tmp_path / "a.png", says=f"({side}, {side})", most=int(1.6 * numbers) + 20)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_read(form: str) -> None:
    image = Image.linear_gradient("L").resize((16, 16)).convert("RGB")
    data = encode(image, form)
    result = decode_image(data)
    assert result.size == (16, 16) and result.mode == "RGB"
    assert read_header(data).format == form
    collect(data)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("GIF", b"/*" + b"x" * 50 + b"*/=1;alert(1)//"),
        ("JPEG", b"PK\x03\x04" + bytes(60)),
        ("PNG", b"<html><script>alert(1)</script></html>"),
        ("BMP", b"%PDF-1.4"),
    ],
)
def test_data_after_the_image_is_ignored(first: str, second: bytes) -> None:
    image = Image.linear_gradient("L").resize((24, 16)).convert("RGB")
    plain = encode(image, first)
    assert read_header(plain + second).format == first
    assert np.array_equal(np.asarray(decode_image(plain + second)), np.asarray(decode_image(plain)))


def test_formats_that_run_programs_are_refused() -> None:
    for data in (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
        b"%PDF-1.4\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"PK\x03\x04" + bytes(60),
        b"\x80\x04\x95" + bytes(60),
    ):
        with pytest.raises(ImageError, match=r"not (an image|in a supported format)"):
            decode_image(data)


def test_pipes_devices_and_link_loops_are_refused(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "round").mkdir()
    (tmp_path / "round" / "again").symlink_to(tmp_path, target_is_directory=True)
    with (tmp_path / "holes.png").open("wb") as file:
        file.truncate(2**40)
    for name, why in {
        "pipe.png": "not a regular file",
        "device.png": "not a regular file",
        "loop.png": "symbolic links",
        "holes.png": "larger than 1024 MiB",
        "a\0.png": "invalid file name",
        "x" * 300: "name too long",
    }.items():
        with pytest.raises(ImageError, match=f"can't be read .*{why}"):
            read_bytes(tmp_path / name)
    assert [p.name for p in list_images(tmp_path)] == ["holes.png"]


def jpeg2000(width: int, height: int, tile: int) -> bytes:
    """A JPEG 2000 of 16 × 16 pixels whose headers say otherwise."""
    data = bytearray(encode(Image.new("RGB", (16, 16)), "JPEG2000"))
    box, stream = data.index(b"ihdr"), data.index(b"\xff\x51")
    data[box + 4 : box + 12] = struct.pack(">II", height, width)
    data[stream + 6 : stream + 14] = struct.pack(">II", width, height)
    data[stream + 22 : stream + 30] = struct.pack(">II", tile, tile)
    return bytes(data)


def avif(width: int, height: int) -> bytes:
    """An AVIF of 64 × 64 pixels whose header says otherwise."""
    data = bytearray(encode(Image.new("RGB", (64, 64)), "AVIF"))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">II", width, height)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (jpeg2000(16, 16, 2**31 - 1), "(16, 16)"),
        (jpeg2000(13_000, 13_000, 16), "can't be decoded"),
        (jpeg2000(13_000, 13_000, 1), "can't be decoded"),
        (jpeg2000(60_000, 60_000, 60_000), "178 million"),
        (jpeg2000(2**32 - 1, 2**32 - 1, 2**32 - 1), "178 million"),
        (avif(2**31 - 1, 2**31 - 1), "not in a supported format"),
        (avif(60_000, 60_000), "not in a supported format"),
    ],
    ids=range(7),
)
def test_giant_tiles_and_items_cost_little(
    tmp_path: Path, cheap: Callable[..., None], data: bytes, says: str
) -> None:
    (tmp_path / "a").write_bytes(data)
    cheap(tmp_path / "a", says=says, most=50)
