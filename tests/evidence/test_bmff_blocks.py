"""EXIF and XMP of HEIC, AVIF and JPEG XL files, whether or not they can be decoded."""

from __future__ import annotations

import io
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import Base

from whichgen.evidence.collect import collect
from whichgen.evidence.containers.bmff_blocks import find_bmff_blocks, find_bmff_mime

from .conftest import encode, picture, xmp

PACKET = xmp("", "<photoshop:Credit>Made with Google AI</photoshop:Credit>")


def exif() -> bytes:
    tags = Image.Exif()
    tags[Base.Make], tags[Base.Model] = "Apple", "iPhone 15"
    return tags.tobytes()


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def make_file(*, version: int = 0, in_idat: bool = False, brand: bytes = b"heic") -> bytes:
    """A file of an EXIF item of two extents and an XMP item, without pixels."""
    tiff = exif().removeprefix(b"Exif\0\0")
    items = {1: struct.pack(">I", 2) + b"xx" + tiff, 2: PACKET}
    wide = version == 2
    number, count = (">I", ">I") if wide else (">H", ">H")
    infe = b""
    for item, kind in ((1, b"Exif\0"), (2, b"mime\0application/rdf+xml\0")):
        entry = bytes([3 if wide else 2, 0, 0, 0]) + struct.pack(number, item) + bytes(2) + kind
        infe += box(b"infe", entry)
    iinf = box(b"iinf", bytes(4) + struct.pack(">H", 2) + infe)

    def make_meta(start: int) -> bytes:
        iloc = bytes([version, 0, 0, 0, 0x44, 0x40]) + struct.pack(count, 2)
        for item, content in items.items():
            iloc += struct.pack(number, item)
            if version:
                iloc += struct.pack(">H", int(in_idat))
            iloc += struct.pack(">HI", 0, start)
            cut = 7 if item == 1 else len(content)
            extents = [(0, cut)] + ([(cut, len(content) - cut)] if item == 1 else [])
            iloc += struct.pack(">H", len(extents))
            iloc += b"".join(struct.pack(">II", *extent) for extent in extents)
            start += len(content)
        body = bytes(4) + iinf + box(b"iloc", iloc)
        return box(b"meta", body + box(b"idat", b"".join(items.values())) if in_idat else body)

    head = box(b"ftyp", brand + bytes(4) + b"mif1")
    start = 0 if in_idat else len(head + make_meta(0)) + 8
    rest = b"" if in_idat else box(b"mdat", b"".join(items.values()))
    return head + make_meta(start) + rest


@pytest.mark.parametrize(("version", "in_idat"), [(0, False), (1, False), (1, True), (2, True)])
@pytest.mark.parametrize("brand", [b"heic", b"avif", b"mif1"])
def test_items_are_read_although_there_are_no_pixels(
    version: int, in_idat: bool, brand: bytes
) -> None:
    data = make_file(version=version, in_idat=in_idat, brand=brand)
    evidence = collect(data)
    titles = [finding.title for finding in evidence.findings]
    assert titles == ["camera: Apple iPhone 15", "Credit names Google AI"]
    assert evidence.notes[0].startswith("the image can't be opened")


def test_files_of_real_writers_are_read() -> None:
    titles = {"camera: Apple iPhone 15", "Credit names Google AI"}
    data = encode("AVIF", exif=exif(), xmp=PACKET)
    assert {f.title for f in collect(data).findings} == titles
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    heif.register_heif_opener()
    file = io.BytesIO()
    picture().save(file, "HEIF", exif=exif(), xmp=PACKET)
    assert {f.title for f in collect(file.getvalue()).findings} == titles


def test_boxes_of_jpeg_xl_are_read() -> None:
    start = b"\0\0\0\x0cJXL \r\n\x87\n"
    tiff = struct.pack(">I", 0) + exif().removeprefix(b"Exif\0\0")
    data = start + box(b"ftyp", b"jxl ") + box(b"Exif", tiff) + box(b"xml ", PACKET)
    blocks = find_bmff_blocks(data)
    assert find_bmff_mime(data) == "image/jxl"
    assert (len(blocks.exif), blocks.xmp, blocks.notes) == (1, (PACKET,), ())
    notes = find_bmff_blocks(start + box(b"brob", b"Exif" + bytes(9))).notes
    assert notes == ("compressed metadata of JPEG XL was not read",)


def test_truncation_is_noted() -> None:
    data = make_file()
    assert "the file is truncated" in find_bmff_blocks(data[:-5]).notes[0]
    assert find_bmff_blocks(data).notes == ()


def test_overlapping_extents_do_not_multiply_the_file() -> None:
    infe = box(b"infe", bytes([2, 0, 0, 0]) + struct.pack(">HH", 1, 0) + b"Exif\0")
    iinf = box(b"iinf", bytes(4) + struct.pack(">H", 1) + infe)
    item = struct.pack(">HHIH", 1, 0, 0, 60_000) + struct.pack(">II", 0, 1_000_000) * 60_000
    iloc = box(b"iloc", bytes([0, 0, 0, 0, 0x44, 0x40]) + struct.pack(">H", 500) + item * 2)
    data = box(b"ftyp", b"heic") + box(b"meta", bytes(4) + iinf + iloc) + bytes(1_500_000)
    tracemalloc.start()
    try:
        blocks = find_bmff_blocks(data)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert len(blocks.exif) == 1 and len(blocks.exif[0]) < 2_000_000


@given(st.integers(0, 700), st.binary(min_size=1, max_size=8))
def test_damaged_files_are_read_without_an_error(position: int, garbage: bytes) -> None:
    for data in (make_file(), make_file(version=2, in_idat=True)):
        blocks = find_bmff_blocks(data[:position] + garbage + data[position + len(garbage) :])
        assert sum(map(len, blocks.exif + blocks.xmp)) <= 4_000_000
