"""Find the metadata blocks of a PNG file, which may be damaged."""

from __future__ import annotations

import re
import zlib

from whichgen.data.images.png import Chunk, has_valid_checksum, iterate_chunks
from whichgen.evidence.containers.metadata_blocks import (
    MAX_BLOCK,
    MAX_FIELDS,
    MAX_TOTAL_CHARACTERS,
    Blocks,
    decode_text,
    find_iptc,
    remove_exif_prefix,
)

_XMP = "XML:com.adobe.xmp"

#: Maximum number of notes. The first notes are omitted, because the last note reports truncation.
_MAX_NOTES = 20

#: Names of text fields in which ImageMagick stores a metadata block as hexadecimal digits.
_PROFILE = re.compile(r"Raw profile type (exif|iptc|xmp|APP1|8bim)", re.IGNORECASE)
_HEX = re.compile(r"\s*(?:[0-9a-fA-F]{2}\s*)+")


def find_png_blocks(data: bytes) -> Blocks:
    """Find the text fields, EXIF, XMP and IPTC of a PNG file.

    Text fields are the chunks tEXt, zTXt and iTXt, before or after the pixels. A text field that
    contains EXIF, XMP or IPTC is returned only as such. Bytes after the end of the image are
    ignored. The beginning of a truncated chunk is read. The notes report truncation, damaged
    metadata, and metadata that was not read because of its size or number.
    """
    texts: list[tuple[str, str]] = []
    blocks: dict[str, list[bytes]] = {"exif": [], "xmp": [], "iptc": []}
    notes: list[str] = []
    n_fields, n_characters = 0, 0
    last_chunk: Chunk | None = None
    for chunk in iterate_chunks(data):
        last_chunk = chunk
        is_optional = chunk.kind[:1].islower()
        if is_optional and chunk.is_complete and not has_valid_checksum(data, chunk):
            notes.append(f"wrong checksum of chunk {chunk.kind.decode()}")
        if chunk.kind not in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            continue
        content = data[chunk.start : chunk.end]
        if n_fields >= MAX_FIELDS or n_characters > MAX_TOTAL_CHARACTERS:
            notes.append(f"metadata after the first {n_fields} text fields was not read")
            break
        if chunk.kind == b"eXIf":
            blocks["exif"].append(remove_exif_prefix(content))
            continue
        field, text, is_complete = _read_text(chunk.kind, content)
        n_fields, n_characters = n_fields + 1, n_characters + len(text)
        if not is_complete:
            notes.append(
                f"text field {field!r} is damaged or too long; at most its beginning was read"
            )
        if field == _XMP:
            blocks["xmp"].append(text.encode("utf-8", errors="surrogatepass"))
        elif not _add_profile(field, text, blocks):
            texts.append((field, text))
    else:
        if last_chunk is None or last_chunk.kind != b"IEND":
            notes.append("the PNG is truncated or damaged; any later metadata was not read")
    return Blocks(
        texts=tuple(texts),
        exif=tuple(blocks["exif"]),
        xmp=tuple(blocks["xmp"]),
        iptc=tuple(blocks["iptc"]),
        notes=tuple(dict.fromkeys(notes))[-_MAX_NOTES:],
    )


def _read_text(kind: bytes, content: bytes) -> tuple[str, str, bool]:
    """Return the name and the text of a text chunk, and whether the text is undamaged and complete.

    The text is incomplete if it exceeds :data:`MAX_BLOCK` bytes.
    """
    name, _, value = content.partition(b"\0")
    field = name[:79].decode("latin-1")
    is_compressed, encoding = kind == b"zTXt", "latin-1"
    if kind == b"iTXt":
        is_compressed, encoding = value[:1] == b"\1", "utf-8"
        parts = value[2:].split(b"\0", 2)  # language, translated name, text
        value = parts[2] if len(parts) == 3 else b""
    elif is_compressed:
        value = value[1:]  # skip the compression method
    is_complete = len(value) <= MAX_BLOCK
    if is_compressed:
        value, is_complete = _decompress(value)
    # tEXt is Latin-1 by definition, but many programs write UTF-8.
    return field, decode_text(value[:MAX_BLOCK], encoding), is_complete


def _decompress(content: bytes) -> tuple[bytes, bool]:
    """Return at most :data:`MAX_BLOCK` decompressed bytes, and whether they are complete."""
    decompressor = zlib.decompressobj()
    text = b""
    try:
        text = decompressor.decompress(content, MAX_BLOCK)
    except zlib.error:
        return text, False
    return text, decompressor.eof


def _add_profile(field: str, text: str, blocks: dict[str, list[bytes]]) -> bool:
    """Add the block in a text field of hexadecimal digits to ``blocks``.

    Return whether the field contains a block.
    """
    match = _PROFILE.fullmatch(field)
    digits = text
    if match:  # skip the empty line, the name and the length
        digits = "".join(text.split("\n")[3:]) if text.startswith("\n") else text
    elif field != "IPTC":  # mflux writes the field IPTC
        return False
    if not _HEX.fullmatch(digits):
        return False
    block = bytes.fromhex("".join(digits.split()))
    kind = match[1].lower() if match else "iptc"
    if block.startswith(b"8BIM"):
        block, kind = find_iptc(block), "iptc"
    if block.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
        block, kind = block.partition(b"\0")[2], "xmp"
    blocks["exif" if kind == "app1" else kind].append(remove_exif_prefix(block))
    return True
