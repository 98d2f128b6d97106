"""All formats that people have are read, or skipped with a reason."""

from __future__ import annotations

import io
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from whichgen.data.dataset import list_images
from whichgen.data.images.decoding import decode_file, decode_image, read_image
from whichgen.data.images.formats import HEIF, IMAGE_SUFFIXES, JPEG_XL, OPTIONAL_FORMATS, SUFFIXES
from whichgen.data.images.formats import OptionalFormat as Optional
from whichgen.data.images.image_facts import collect_facts
from whichgen.data.images.optional_formats import read_jxl_size
from whichgen.data.images.skipped_files import describe_skipped
from whichgen.data.shards.archives import read_tar
from whichgen.errors import ImageError, WhichgenWarning

#: Suffixes of common formats, as programs, browsers and phones write them.
PEOPLE_HAVE = (
    *(".jpg", ".JPG", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif", ".gif", ".bmp"),
    *(".dib", ".tif", ".TIFF", ".jp2", ".j2k", ".tga", ".ico", ".ppm", ".pgm", ".pnm", ".pcx"),
)


def test_common_suffixes_are_listed(tmp_path: Path) -> None:
    for suffix in PEOPLE_HAVE:
        (tmp_path / f"a{suffix}").touch()
    assert {path.suffix for path in list_images(tmp_path)} == set(PEOPLE_HAVE)


@pytest.mark.parametrize("form", sorted(set(SUFFIXES) - {"DIB"}))
def test_each_format_is_decoded(noise: Callable[..., Image.Image], form: str) -> None:
    photo = noise(3, (48, 48)).resize((96, 96), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    photo.save(buffer, form, **({"sizes": [(96, 96)]} if form == "ICO" else {}))
    result = np.asarray(decode_image(buffer.getvalue())).astype(int)
    # GIF has 256 colors.
    assert np.abs(result - np.asarray(photo)).mean() < (25 if form == "GIF" else 12)


@pytest.fixture
def optional_files(noise: Callable[..., Image.Image]) -> dict[Optional, bytes]:
    """A photograph in each optional format."""
    heif = pytest.importorskip("pillow_heif", reason="needs the extra formats")
    pytest.importorskip("pillow_jxl", reason="needs the extra formats")
    photo = noise(3, (48, 48)).resize((96, 64), Image.Resampling.BICUBIC)
    files = {HEIF: io.BytesIO(), JPEG_XL: io.BytesIO()}
    heif.from_pillow(photo).save(files[HEIF], quality=95)
    photo.save(files[JPEG_XL], "JXL", quality=95)
    return {kind: file.getvalue() for kind, file in files.items()}


@pytest.mark.parametrize("kind", OPTIONAL_FORMATS, ids=lambda kind: kind.name)
def test_optional_formats_are_decoded(
    optional_files: dict[Optional, bytes], noise: Callable[..., Image.Image], kind: Optional
) -> None:
    photo = noise(3, (48, 48)).resize((96, 64), Image.Resampling.BICUBIC)
    image = decode_image(optional_files[kind])
    assert image.size == (96, 64)
    assert np.abs(np.asarray(image).astype(int) - np.asarray(photo)).mean() < 12
    assert set(kind.suffixes) <= IMAGE_SUFFIXES
    message = r"^cut: (damaged or|can't be decoded) .*; replace it( or convert it to PNG)?$"
    with pytest.raises(ImageError, match=message):
        decode_image(optional_files[kind][:-200], "cut")


@pytest.mark.parametrize("kind", OPTIONAL_FORMATS, ids=lambda kind: kind.name)
def test_optional_formats_without_exif_metadata(
    optional_files: dict[Optional, bytes], kind: Optional
) -> None:
    assert not collect_facts(decode_file(optional_files[kind]), b"").has_exif


@pytest.mark.parametrize("kind", OPTIONAL_FORMATS, ids=lambda kind: kind.name)
def test_message_without_the_package(
    optional_files: dict[Optional, bytes], monkeypatch: pytest.MonkeyPatch, kind: Optional
) -> None:
    monkeypatch.setattr(Optional, "is_installed", False)
    message = r"needs another package; run `pip install 'whichgen\[formats\]'`, or convert"
    with pytest.raises(ImageError, match=f"^a: {kind.name.split()[0]}.* {message}"):
        decode_image(optional_files[kind], "a")


@pytest.mark.parametrize("kind", OPTIONAL_FORMATS, ids=lambda kind: kind.name)
def test_optional_formats_obey_the_pixel_limit(
    optional_files: dict[Optional, bytes], monkeypatch: pytest.MonkeyPatch, kind: Optional
) -> None:
    for module in ("decoding", "optional_formats"):
        monkeypatch.setattr(f"whichgen.data.images.{module}.MAX_PIXELS", 96 * 64 - 1)
    with pytest.raises(ImageError, match="limit"):
        decode_image(optional_files[kind])


@pytest.mark.parametrize("container", [True, False])
@pytest.mark.parametrize(
    "size", [(1, 1), (8, 8), (256, 256), (1920, 1080), (640, 480), (64, 32), (33, 7), (2000, 13)]
)
def test_size_of_jpeg_xl_is_read_from_its_header(size: tuple[int, int], container: bool) -> None:
    pytest.importorskip("pillow_jxl", reason="needs the extra formats")
    buffer = io.BytesIO()
    Image.new("RGB", size, "teal").save(buffer, "JXL", use_container=container)
    assert read_jxl_size(buffer.getvalue()) == size


def test_oversized_jpeg_xl_is_refused_without_memory() -> None:
    # Not small; height of 30 bits, 2^29 + 1; ratio 1:1.
    bits = 0 | (3 << 1) | (2**29 << 3) | (1 << 33)
    data = b"\xff\x0a" + bits.to_bytes(8, "little") + bytes(200)
    assert read_jxl_size(data) == (2**29 + 1, 2**29 + 1)
    pytest.importorskip("pillow_jxl", reason="needs the extra formats")
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(ImageError, match="more pixels than the limit"):
        decode_image(data)
    assert time.process_time() - start < 0.5
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "start", "message"),
    [
        ("a.jpg", b'{"error": "rate limited"}', "a JSON file"),
        ("a.jpg", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "an XML file"),
        ("a.png", "Prompt: ein Bär läuft\n".encode(), "a text file"),
        ("a.png", "\ufeffcaption".encode("utf-16"), "a text file"),
        ("a.jpg", b"PK\x03\x04rest", "a ZIP archive"),
        ("a.jpg", b"RIFF\0\0\0\0AVI LIST", "a video"),
        ("a.jpg", b"\0\0\0\x20ftypisom\0\0\2\0", "a video"),
        ("a.jpg", b"\0\0\0\x18ftypcrx \0\0\0\1", "a camera raw file"),
        ("a.jpg", b"II*\0\x10\0\0\0CR\2\0", "a camera raw file"),
        ("a.jpg", b"8BPS\0\1", "a Photoshop document"),
        ("a.jpg", b"\0\5\x16\7\0\2\0\0Mac OS X", "a macOS metadata file"),
        ("a.jpg", b"\x76\x2f\x31\x01", "an OpenEXR image"),
    ],
)
def test_other_content_is_described(tmp_path: Path, name: str, start: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(start)
    with pytest.raises(ImageError, match=rf"{name}: {message}, not .*; "):
        read_image(tmp_path / name)


@pytest.mark.parametrize("tags", [{254: 1}, {50706: b"\1\4\0\0"}], ids=["thumbnail", "DNG"])
def test_thumbnail_of_a_camera_raw_file_is_not_decoded(tags: dict[int, object]) -> None:
    # Raw files of most cameras are TIFF files whose first image is a thumbnail.
    buffer = io.BytesIO()
    Image.new("RGB", (160, 120), "gray").save(buffer, "TIFF", tiffinfo=tags)
    with pytest.raises(ImageError, match=r"^a: a camera raw file.*; develop it"):
        decode_image(buffer.getvalue(), "a")


def test_skipped_files_are_reported_by_suffix(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8))
    for name in ("a.png", "b.PNG"):
        image.save(tmp_path / name, "PNG")
    for name in ("noext", "c.jpg_large"):
        image.save(tmp_path / name, "JPEG")
    for name in ("1.psd", "2.PSD", "a.txt", "x.NEF", "y.xyz"):
        (tmp_path / name).touch()
    (tmp_path / "sound.wav").write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")
    with pytest.warns(WhichgenWarning) as caught:
        assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.PNG"]
    (message,) = {str(w.message) for w in caught}
    assert message.startswith(f"Skipped in {tmp_path}: 8 files: 2 .psd (Photoshop document; export")
    for part in (
        "1 .txt (text file)",
        "1 .nef (camera raw file; develop it and export it as PNG or TIFF)",
        "1 .xyz (not an image format)",
        "1 .wav (not an image format)",
        "1 .jpg_large (an image; rename it with the suffix",
        "1 without suffix (an image; rename",
    ):
        assert part in message


def test_many_suffixes_are_counted_together() -> None:
    paths = [PurePosixPath(f"a.x{i}") for i in range(12)]
    message = describe_skipped(paths)
    assert message.startswith("12 files: 1 .x0 (not an image format), ")
    assert message.endswith("4 more")


def test_unread_images_of_an_archive_are_named() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("a.png", "a.json", "b.psd", "c.NEF", "c.cls"):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))
    buffer.seek(0)
    assert list(read_tar(buffer)) == [
        ("a.png", b"abc"),
        ("b.psd", "Photoshop document; export it as PNG"),
        ("c.NEF", "camera raw file; develop it and export it as PNG or TIFF"),
    ]
