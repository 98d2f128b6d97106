"""Decoding: pixels as a viewer shows them; invalid images are refused."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from whichgen.data.images.decoding import (
    MAX_PIXELS,
    decode_image,
    hash_image,
    make_thumbnail,
    read_bytes,
    read_image,
)
from whichgen.data.images.rgb_conversion import to_rgb
from whichgen.errors import ImageError


def _bytes(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _png(
    width: int, height: int, depth: int, color: int, rows: bytes, *extra: tuple[bytes, bytes]
) -> bytes:
    """A PNG file written by hand: ``rows`` with their filter bytes, ``extra`` chunks before it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *(chunk(*e) for e in extra),
            chunk(b"IDAT", zlib.compress(rows, 9)),
            chunk(b"IEND", b""),
        ]
    )


def _pixels(data: bytes) -> np.ndarray:
    image = decode_image(data)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


@pytest.fixture
def photo(noise: Callable[..., Image.Image]) -> Image.Image:
    """A seeded 40 × 24 RGB image."""
    return noise(3, (40, 24))


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_files_keep_every_pixel(photo: Image.Image, form: str) -> None:
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    assert np.array_equal(_pixels(_bytes(photo, form, **options)), np.asarray(photo))


def test_jpeg_is_close_to_its_original() -> None:
    smooth = Image.linear_gradient("L").convert("RGB")
    result = _pixels(_bytes(smooth, "JPEG", quality=95))
    assert np.abs(result - np.asarray(smooth)).max() <= 3


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
@pytest.mark.parametrize("share", [0.95, 0.5, 0.1])
def test_truncated_file_is_refused(photo: Image.Image, form: str, share: float) -> None:
    data = _bytes(photo.resize((200, 120)), form)
    with pytest.raises(ImageError, match=r"^cut: (can't be decoded|not an image)"):
        decode_image(data[: int(share * len(data))], "cut")


_WHOLE = {
    form: _bytes(Image.effect_noise((24, 16), 50).convert("RGB"), form)
    for form in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=300)
@given(
    form=st.sampled_from(sorted(_WHOLE)),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=6),
    header=st.booleans(),
)
def test_damaged_file_gives_image_or_image_error(
    form: str, changes: list[tuple[float, int]], header: bool
) -> None:
    data = bytearray(_WHOLE[form])
    for place, value in changes:
        data[int(place * (min(64, len(data)) if header else len(data)))] = value
    try:
        image = decode_image(bytes(data))
    except ImageError:
        return
    assert image.mode == "RGB"


def test_text_named_png_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("this is no image")
    with pytest.raises(ImageError, match=r"a\.png: a text file, not an image; "):
        read_image(tmp_path / "a.png")


def test_format_is_detected_from_content(tmp_path: Path, photo: Image.Image) -> None:
    (tmp_path / "a.jpg").write_bytes(_bytes(photo, "PNG"))
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.jpg")), np.asarray(photo))


def test_empty_missing_and_unreadable_files_have_own_messages(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(ImageError, match=r"a\.png: the file is empty"):
        read_bytes(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"b\.png: no such file"):
        read_bytes(tmp_path / "b.png")
    with pytest.raises(ImageError, match="can't be read"):
        read_bytes(tmp_path)


@pytest.mark.parametrize("side", [30_000, 13_378])
def test_oversized_image_is_refused_fast_and_without_memory(side: int) -> None:
    # All of its rows are there: it is a sound PNG of one bit a pixel.
    assert side**2 > MAX_PIXELS
    rows = bytes(1 + (side + 7) // 8) * side
    data = _png(side, side, 1, 0, rows)
    del rows
    tracemalloc.start()
    begun = time.process_time()
    with pytest.raises(ImageError, match=r"bomb\.png: .*limit of 178 million; downscale it"):
        decode_image(data, "bomb.png")
    assert time.process_time() - begun < 0.5
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_pixel_limit_holds_without_pillow_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    data = _png(30_000, 30_000, 1, 0, b"")
    with pytest.raises(ImageError, match="30000 × 30000 pixels, more pixels than the limit"):
        decode_image(data)


def test_pillow_limit_is_an_image_error(
    monkeypatch: pytest.MonkeyPatch, photo: Image.Image
) -> None:
    data = _bytes(photo, "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)  # of the photo's 960: Pillow warns
    with pytest.warns(Image.DecompressionBombWarning):
        assert decode_image(data).size == photo.size
    with warnings.catch_warnings(), pytest.raises(ImageError, match="downscale it"):
        warnings.simplefilter("error")
        decode_image(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)  # Pillow refuses
    with pytest.raises(ImageError, match="downscale it"):
        decode_image(data)


def test_cmyk_is_converted() -> None:
    cmyk = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    assert np.abs(_pixels(_bytes(cmyk, "TIFF")) - (0, 255, 255)).max() == 0
    assert np.abs(_pixels(_bytes(cmyk, "JPEG", quality=95)) - (0, 255, 255)).max() <= 3


def _palette(transparency: object = None) -> bytes:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    return _bytes(image, "PNG", **({} if transparency is None else {"transparency": transparency}))


def test_palette_is_converted() -> None:
    assert _pixels(_palette()).tolist() == [[[10, 20, 30], [200, 100, 50]]]


def test_transparent_palette_colors_become_white() -> None:
    assert _pixels(_palette(0)).tolist() == [[[255, 255, 255], [200, 100, 50]]]
    half = _pixels(_palette(bytes([255, 128])))
    assert half[0, 0].tolist() == [10, 20, 30]
    expected = np.array([200, 100, 50]) * (128 / 255) + 255 * (127 / 255)
    assert np.abs(half[0, 1] - expected).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_becomes_white(mode: str) -> None:
    color = (40, 80, 120) if mode == "RGBA" else (40,)
    image = Image.new(mode, (3, 1))
    for x, alpha in enumerate((0, 128, 255)):
        image.putpixel((x, 0), (*color, alpha))
    values_rgb = np.array(color if mode == "RGBA" else color * 3)
    result = _pixels(_bytes(image, "PNG"))[0]
    assert result[0].tolist() == [255, 255, 255]
    assert np.abs(result[1] - (values_rgb * 128 + 255 * 127) / 255).max() <= 1
    assert result[2].tolist() == values_rgb.tolist()


def test_transparent_color_key_becomes_white() -> None:
    rows = b"\0" + bytes([1, 2, 3, 9, 8, 7])
    data = _png(2, 1, 8, 2, rows, (b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    assert _pixels(data).tolist() == [[[255, 255, 255], [9, 8, 7]]]


def test_16_bit_gray_is_scaled_not_clipped() -> None:
    values = [0, 257, 32768, 65535]
    data = _png(4, 1, 16, 0, b"\0" + struct.pack(">4H", *values))
    assert _pixels(data)[0, :, 0].tolist() == [0, 1, 128, 255]
    assert (_pixels(data) == _pixels(data)[..., :1]).all()
    big_endian = Image.frombytes("I;16B", (4, 1), struct.pack(">4H", *values))
    assert np.asarray(to_rgb(big_endian))[0, :, 1].tolist() == [0, 1, 128, 255]


def test_16_bit_color_is_scaled() -> None:
    rows = b"\0" + struct.pack(">3H", 0, 32768, 65535)
    assert _pixels(_png(1, 1, 16, 2, rows))[0, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("values", "values_rgb"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([-5.0, 257.0, 65535.0], [0, 1, 255]),
    ],
)
def test_float_gray_is_scaled_by_its_range(values: list[float], values_rgb: list[int]) -> None:
    image = Image.fromarray(np.array([values], dtype=np.float32))
    assert _pixels(_bytes(image, "TIFF"))[0, :, 2].tolist() == values_rgb


@pytest.mark.parametrize("value", [70_000.0, float("nan"), float("inf")])
def test_float_gray_of_unknown_range_is_refused(value: float) -> None:
    image = Image.fromarray(np.array([[0.0, value]], dtype=np.float32))
    with pytest.raises(ImageError, match="above 65535"):
        decode_image(_bytes(image, "TIFF"))


def test_one_bit_images_are_black_and_white() -> None:
    data = _png(8, 1, 1, 0, b"\0\xa0")
    assert _pixels(data)[0, :, 0].tolist() == [255, 0, 255, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("form", ["GIF", "WEBP"])
def test_first_frame_of_an_animation_is_read(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "lime")]
    options = {"lossless": True} if form == "WEBP" else {}
    data = _bytes(frames[0], form, save_all=True, append_images=frames[1:], **options)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 3
    assert (_pixels(data) == (255, 0, 0)).all()


_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", _TURNS)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(photo: Image.Image, form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    result = _pixels(_bytes(photo, form, exif=exif, **options))
    assert np.array_equal(result, _TURNS[orientation](np.asarray(photo)))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")
def test_damaged_exif_is_ignored(photo: Image.Image) -> None:
    whole = _bytes(photo, "JPEG", quality=95)
    for exif in (b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0garbage", b"Exif\0\0"):
        variant = _bytes(photo, "JPEG", quality=95, exif=exif)
        assert np.array_equal(_pixels(variant), _pixels(whole))


def test_digest_depends_on_content() -> None:
    assert len(hash_image(b"a")) == 20
    assert hash_image(b"a") == hash_image(b"a") != hash_image(b"b")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_thumbnail_carries_no_metadata(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "SECRETCAM"
    buffer = io.BytesIO()
    options = {"comment": b"SECRETCOMMENT", "icc_profile": b"SECRETPROFILE", "exif": exif}
    Image.new("RGB", (300, 200), "red").save(buffer, "JPEG", **options)
    assert buffer.getvalue().count(b"SECRET") == 3
    small = make_thumbnail(decode_image(buffer.getvalue()), 60, kind=kind)
    assert b"SECRET" not in small
    with Image.open(io.BytesIO(small)) as image:
        assert (image.format, image.size) == (kind, (60, 40))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"\xef\xbb\xbf\n<!-- a --><!DOCTYPE html>", "an HTML page"),
        (b'<?xml version="1.0"?><svg width="9">', "an SVG drawing"),
        (b"\0\0\0\x18ftypheix", "HEIC"),
        (b"\0\0\0\x18ftypmif1", "HEIC"),
        (b"\0\0\0\x18ftypisom", "a video"),
        (b"\0\0\0\x0cJXL \r\n", "JPEG XL"),
        (b"%PDF-1.7", "a PDF document"),
        (bytes(1100), "a file that begins with zeros"),
        (b"an error message", "a text file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_files_are_described_in_the_message(start: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=f"^a: .*{message}.*; "):
        decode_image(start + b" rest", "a")


@pytest.mark.parametrize("progressive", [True, False])
def test_jpeg_without_its_end_marker_is_decoded(photo: Image.Image, progressive: bool) -> None:
    whole = _bytes(photo.resize((200, 120)), "JPEG", progressive=progressive)
    assert whole.endswith(b"\xff\xd9")
    assert np.array_equal(_pixels(whole[:-2]), _pixels(whole))
    for cut in (12, 40, 400):
        with pytest.raises(ImageError, match="truncated"):
            decode_image(whole[:-cut])


def test_damaged_optional_chunks_of_png_are_ignored(photo: Image.Image) -> None:
    whole = _bytes(photo, "PNG")
    text = b"\0\0\0\x05tEXta\0bcd\0\0\0\0"  # its checksum is wrong
    before, after = whole[:33] + text + whole[33:], whole[:-12] + text + whole[-12:]
    for variant in (before, after):
        assert np.array_equal(_pixels(variant), np.asarray(photo))
    broken = bytearray(whole)
    broken[40] ^= 1  # of the pixels
    with pytest.raises(ImageError):
        decode_image(bytes(broken))


@pytest.mark.parametrize(
    ("values", "gray"),
    [
        ([0.1, 0.5, 7.5], [26, 128, 255]),
        ([0.5, 100.0, 254.5], [0, 100, 254]),
        ([0.0, 1.0, 200.0], [0, 1, 200]),
    ],
)
def test_float_highlights_are_clipped(values: list[float], gray: list[int]) -> None:
    image = Image.fromarray(np.array([values], dtype=np.float32))
    assert _pixels(_bytes(image, "TIFF"))[0, :, 0].tolist() == gray
