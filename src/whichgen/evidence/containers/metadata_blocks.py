"""Metadata blocks of an image file before they are interpreted."""

from __future__ import annotations

from dataclasses import dataclass

#: Maximum number of bytes of a text field after decompression, of an XMP packet, of a block of a
#: HEIC, AVIF or JPEG XL file, and of all IPTC and extended XMP of a JPEG file.
MAX_BLOCK = 2_000_000

#: Maximum number of text fields or comments per file.
MAX_FIELDS = 100

#: Once the text fields of a file exceed this number of characters, no further field is read.
MAX_TOTAL_CHARACTERS = 8_000_000


@dataclass(frozen=True)
class Blocks:
    """Metadata blocks of an image file.

    Parameters
    ----------
    texts
        Name and text of each text field or comment.
    exif
        EXIF blocks without the prefix ``Exif\\0\\0``.
    xmp
        XMP packets.
    iptc
        Blocks of concatenated IPTC-IIM records.
    notes
        Descriptions of damage and of metadata that was not read.
    """

    texts: tuple[tuple[str, str], ...] = ()
    exif: tuple[bytes, ...] = ()
    xmp: tuple[bytes, ...] = ()
    iptc: tuple[bytes, ...] = ()
    notes: tuple[str, ...] = ()


def decode_text(content: bytes, fallback: str = "latin-1") -> str:
    """Decode text as UTF-8 or, if it is not valid UTF-8, in the encoding ``fallback``.

    Bytes that are invalid in both encodings become replacement characters.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode(fallback, errors="replace")


def remove_exif_prefix(block: bytes) -> bytes:
    """Return an EXIF block without the prefix ``Exif\\0\\0``, which only JPEG requires."""
    return block[6:] if block.startswith(b"Exif\0") else block


def find_iptc(resources: bytes) -> bytes:
    """Return the concatenated IPTC records in Photoshop image resources; empty if there are none.

    A resource consists of ``8BIM``, a number (1028 for IPTC), a name, a size and the content.
    """
    position, records = 0, b""
    while resources[position : position + 4] == b"8BIM":
        number = int.from_bytes(resources[position + 4 : position + 6])
        name_size = resources[position + 6 : position + 7] or b"\0"
        position += 6 + (name_size[0] + 2) // 2 * 2
        size = int.from_bytes(resources[position : position + 4])
        content = resources[position + 4 : position + 4 + size]
        if number == 1028:
            records += content
        position += 4 + (size + 1) // 2 * 2
    return records
