"""Classification of the bytes that are excluded from a content hash."""

from __future__ import annotations

import pytest
from PIL import Image

from whichgen.evidence.content_credentials.hash_coverage import classify_exclusions

from .conftest import SOURCE, Sign, encode

ACTIONS = [{"action": "c2pa.created", "digitalSourceType": f"{SOURCE}digitalCapture"}]


def exif() -> bytes:
    tags = Image.Exif()
    tags[271] = "Maker"
    return tags.tobytes()


def place(data: bytes, kind: str, name: bytes) -> tuple[int, int]:
    """Start and length of the first part of a file with the given marker or chunk name."""
    if name == b"\xff\xe1":
        at = data.index(b"Exif\0\0") - 4  # the signature can contain the bytes of the marker
    else:
        at = data.rindex(name) if name == b"\xff\xdb" else data.index(name)  # not of a thumbnail
    if kind == "JPEG":
        return at, 2 + int.from_bytes(data[at + 2 : at + 4])
    if kind == "PNG":
        return at - 4, 12 + int.from_bytes(data[at - 4 : at])
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    return at, 8 + size + size % 2


PARTS = [
    ("JPEG", b"\xff\xeb", "manifest"),
    ("JPEG", b"\xff\xe1", "metadata"),
    ("JPEG", b"\xff\xdb", "picture"),
    ("PNG", b"caBX", "manifest"),
    ("PNG", b"eXIf", "metadata"),
    ("PNG", b"IDAT", "picture"),
    ("PNG", b"IHDR", "picture"),
    ("WEBP", b"C2PA", "manifest"),
    ("WEBP", b"EXIF", "metadata"),
    ("WEBP", b"VP8 ", "picture"),
]


@pytest.mark.parametrize(("kind", "name", "expected"), PARTS)
def test_part_is_classified(kind: str, name: bytes, expected: str, sign: Sign) -> None:
    data = sign(encode(kind, exif=exif()), f"image/{kind.lower()}", actions=ACTIONS)
    start, length = place(data, kind, name)
    assert classify_exclusions(data, [(start, length)]) == expected
    assert classify_exclusions(data, [(start + length - 1, 1)]) == expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_last_byte_and_neighbors_of_the_manifest_are_noticed(kind: str, sign: Sign) -> None:
    data = sign(encode(kind), f"image/{kind.lower()}", actions=ACTIONS)
    if kind == "JPEG":
        assert classify_exclusions(data, [(len(data) - 1, 1)]) == "picture"
    start, length = place(data, kind, {"JPEG": b"\xff\xeb", "PNG": b"caBX", "WEBP": b"C2PA"}[kind])
    rest = [(0, len(data))]
    assert classify_exclusions(data, rest) == "picture"
    assert classify_exclusions(data, [(start, length)]) == "manifest"
    assert classify_exclusions(data, []) == "manifest"


def test_color_profile_and_adobe_marker_belong_to_the_picture() -> None:
    plain = encode("JPEG")
    for marker, body in ((0xE2, b"ICC_PROFILE\0\1\1"), (0xEE, b"Adobe\0d\0\0\0\0\1")):
        segment = bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2) + body
        data = plain[:2] + segment + plain[2:]
        assert classify_exclusions(data, [(2, len(segment))]) == "picture"
    body = b"MPF\0"
    segment = b"\xff\xe2" + (len(body) + 2).to_bytes(2) + body
    assert classify_exclusions(plain[:2] + segment + plain[2:], [(2, 4)]) == "metadata"


def test_other_formats_are_unknown() -> None:
    assert classify_exclusions(encode("TIFF"), [(0, 8)]) == "unknown"
    assert classify_exclusions(b"", [(0, 8)]) == "unknown"
