"""Classify the parts of a file that are excluded from the content hash of a C2PA manifest.

The manifest itself must be excluded. Some signers also exclude other parts, such as the EXIF
segment before the manifest. The C2PA library then reports a mismatch although the hash is correct.
This mismatch is harmless if all parts that define the picture are hashed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal

from whichgen.data.images.png import SIGNATURE

#: Kind of a part of a file. ``manifest``: the manifest; ``metadata``: other metadata, such as EXIF;
#: ``picture``: data that define the picture; ``unknown``: the file format is not supported.
PartKind = Literal["manifest", "metadata", "picture", "unknown"]

#: Maximum number of segments or chunks that are examined; the rest of the file counts as picture.
_MAX_PARTS = 10_000

# Chunks that define the picture. All critical chunks of a PNG file define the picture, too.
_WEBP_PICTURE = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"})
_PNG_PICTURE = frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT", b"gAMA", b"cHRM", b"iCCP", b"cICP"})

#: Start (inclusive) and end (exclusive) of a part of a file in bytes, and the kind of the part.
_Part = tuple[int, int, PartKind]


def classify_exclusions(data: bytes, exclusions: Collection[tuple[int, int]]) -> PartKind:
    """Return the most important kind of the parts that are excluded from a content hash.

    The order of importance is ``picture``, ``metadata``, ``manifest``. A segment or chunk that is
    only partly excluded counts as excluded.

    Parameters
    ----------
    data
        Content of a JPEG, PNG or WebP file; for other formats, the result is ``unknown``.
    exclusions
        Start and length in bytes of each excluded part. If there are none, the result is
        ``manifest`` for a supported format.
    """
    parts = _list_parts(data)
    if parts is None:
        return "unknown"
    excluded_kinds = {
        kind
        for first, end, kind in parts
        for start, length in exclusions
        if start < end and first < start + length
    }
    if "picture" in excluded_kinds:
        return "picture"
    return "metadata" if "metadata" in excluded_kinds else "manifest"


def _list_parts(data: bytes) -> list[_Part] | None:
    """Return start, end and kind of each part of a file; ``None`` for unsupported formats.

    All bytes after the last segment or chunk that is examined are one part of kind ``picture``.
    """
    if data[:2] == b"\xff\xd8":
        parts = _iterate_jpeg(data)
    elif data.startswith(SIGNATURE):
        parts = _iterate_png(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        parts = _iterate_webp(data)
    else:
        return None
    result: list[_Part] = []
    end = 0
    for part in parts:
        result.append(part)
        end = part[1]
        if len(result) == _MAX_PARTS:
            break
    return [*result, (end, len(data), "picture")]


def _iterate_jpeg(data: bytes) -> Iterator[_Part]:
    """Yield the segments before the first scan."""
    start = 2
    while start + 4 <= len(data) and data[start] == 0xFF and data[start + 1] != 0xDA:
        marker, end = data[start + 1], start + 2 + int.from_bytes(data[start + 2 : start + 4])
        if marker == 0xEB:  # JUMBF
            yield start, end, "manifest"
        elif marker == 0xFE or marker in range(0xE0, 0xF0):  # comment, APPn
            # APP14 defines the color space, and APP2 contains the color profile.
            is_picture = marker == 0xEE or data[start + 4 : start + 15] == b"ICC_PROFILE"
            yield start, end, "picture" if is_picture else "metadata"
        else:
            yield start, end, "picture"
        start = end


def _iterate_png(data: bytes) -> Iterator[_Part]:
    start = len(SIGNATURE)
    while start + 12 <= len(data):
        kind, end = (
            data[start + 4 : start + 8],
            start + 12 + int.from_bytes(data[start : start + 4]),
        )
        if kind == b"caBX":
            yield start, end, "manifest"
        else:
            is_picture = not kind[0] & 0x20 or kind in _PNG_PICTURE
            yield start, end, "picture" if is_picture else "metadata"
        start = end


def _iterate_webp(data: bytes) -> Iterator[_Part]:
    start = 12  # skip the file header
    while start + 8 <= len(data):
        kind, size = data[start : start + 4], int.from_bytes(data[start + 4 : start + 8], "little")
        end = start + 8 + size + size % 2
        if kind == b"C2PA":
            yield start, end, "manifest"
        else:
            yield start, end, "picture" if kind in _WEBP_PICTURE else "metadata"
        start = end
