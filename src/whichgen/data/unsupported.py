"""Describe files that are not images in a supported format, and say what to do."""

from __future__ import annotations

_DEFAULT = "not an image in a supported format; convert it to PNG"

_LFS = b"version https://git-lfs.github.com/spec/"
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body")
_SVG = b"<svg"

#: First bytes of other formats.
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\x0a", "JPEG XL is not supported; convert it to PNG"),
    (b"\0\0\0\x0cJXL ", "JPEG XL is not supported; convert it to PNG"),
    (b"%PDF", "a PDF document, not an image; export its pages as PNG"),
    (b"8BPS", "a Photoshop document is not supported; export it as PNG"),
    (b"gimp xcf", "a GIMP document is not supported; export it as PNG"),
    (b"PK\x03\x04", "a ZIP archive, not an image; extract it first"),
    (b"\x1f\x8b", "a gzip archive, not an image; extract it first"),
    (b"\x1a\x45\xdf\xa3", "a video, not an image; extract a frame as PNG"),
)

#: Brands of files that begin with a box `ftyp`.
_HEIF = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"heif"})

#: Number of bytes looked at.
_MAX_HEAD = 1024


def describe_unsupported(data: bytes) -> str:
    """Return what a file is and what to do, as the end of an error message.

    Parameters
    ----------
    data
        Content of a file that is not an image in a supported format.
    """
    head = data[:_MAX_HEAD].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(_LFS):
        return "a Git LFS pointer, not the image itself; run `git lfs pull` to download the image"
    if head.startswith(b"<") and any(tag in head.lower() for tag in _HTML):
        return "an HTML page, not an image; download the image itself"
    if head.startswith(b"<") and _SVG in head.lower():
        return "an SVG drawing, not an image in a supported format; export it as PNG"
    if data[4:8] == b"ftyp":
        if data[8:12] in _HEIF:
            return "HEIC (HEIF) is not supported; convert it to JPEG or PNG"
        if data[8:12] not in (b"avif", b"avis"):
            return "a video, not an image; extract a frame as PNG"
    if data and not any(data[:_MAX_HEAD]):
        return "the file contains only zeros; replace it"
    return next((text for start, text in _SIGNATURES if data.startswith(start)), _DEFAULT)
