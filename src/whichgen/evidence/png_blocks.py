"""Find the metadata blocks of a PNG file, also of a damaged one."""

from __future__ import annotations

import re
import zlib

from whichgen.data.images.png import Chunk, has_valid_checksum, iterate_chunks
from whichgen.evidence.blocks import (
    MAX_BLOCK,
    MAX_CHARACTERS,
    MAX_FIELDS,
    Blocks,
    decode_text,
    find_iptc,
    remove_exif_prefix,
)

_XMP = "XML:com.adobe.xmp"

#: Largest number of notes; the last ones are kept, which state where the walk ended.
_MAX_NOTES = 20

#: ImageMagick's fields that hold a block in hexadecimal digits.
_PROFILE = re.compile(r"Raw profile type (exif|iptc|xmp|APP1|8bim)", re.IGNORECASE)
_HEX = re.compile(r"\s*(?:[0-9a-fA-F]{2}\s*)+")


def find_png_blocks(data: bytes) -> Blocks:
    """Find the text fields, EXIF, XMP and IPTC of a PNG file.

    Text fields are the chunks tEXt, zTXt and iTXt. Those behind the pixels count; bytes behind the
    end of the image do not. A truncated text field is read as far as it goes. Every kind of damage
    adds a note.
    """
    texts: list[tuple[str, str]] = []
    blocks: dict[str, list[bytes]] = {"exif": [], "xmp": [], "iptc": []}
    notes: list[str] = []
    n_fields, n_characters = 0, 0
    last: Chunk | None = None
    for chunk in iterate_chunks(data):
        last = chunk
        is_optional = chunk.kind[:1].islower()
        if is_optional and chunk.is_complete and not has_valid_checksum(data, chunk):
            notes.append(f"the checksum of a chunk {chunk.kind.decode()} is wrong")
        if chunk.kind not in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            continue
        content = data[chunk.start : chunk.end]
        if n_fields >= MAX_FIELDS or n_characters > MAX_CHARACTERS:
            notes.append(f"only the first {n_fields} text fields were read")
            break
        if chunk.kind == b"eXIf":
            blocks["exif"].append(remove_exif_prefix(content))
            continue
        field, text, is_whole = _read_text(chunk.kind, content)
        n_fields, n_characters = n_fields + 1, n_characters + len(text)
        if not is_whole:
            notes.append(f"text field {field!r} is damaged or too long; its beginning was read")
        if field == _XMP:
            blocks["xmp"].append(text.encode("utf-8", errors="surrogatepass"))
        elif not _read_profile(field, text, blocks):
            texts.append((field, text))
    else:
        if last is None or last.kind != b"IEND":
            notes.append("the PNG is truncated; the metadata before was read")
    return Blocks(
        texts=tuple(texts),
        exif=tuple(blocks["exif"]),
        xmp=tuple(blocks["xmp"]),
        iptc=tuple(blocks["iptc"]),
        notes=tuple(dict.fromkeys(notes))[-_MAX_NOTES:],
    )


def _read_text(kind: bytes, content: bytes) -> tuple[str, str, bool]:
    """Return the name and the text of a text chunk, and whether the text is whole."""
    name, _, rest = content.partition(b"\0")
    field = name[:79].decode("latin-1")
    is_compressed, encoding = kind == b"zTXt", "latin-1"
    if kind == b"iTXt":
        is_compressed, encoding = rest[:1] == b"\1", "utf-8"
        language_and_name = rest[2:].split(b"\0", 2)
        rest = language_and_name[2] if len(language_and_name) == 3 else b""
    elif is_compressed:
        rest = rest[1:]  # the compression method
    is_whole = len(rest) <= MAX_BLOCK
    if is_compressed:
        rest, is_whole = _decompress(rest)
    # Many programs write UTF-8 into tEXt, although it is Latin-1 by definition.
    return field, decode_text(rest[:MAX_BLOCK], encoding), is_whole


def _decompress(content: bytes) -> tuple[bytes, bool]:
    """Return at most :data:`MAX_BLOCK` bytes, and whether that is everything."""
    decompressor = zlib.decompressobj()
    text = b""
    try:
        text = decompressor.decompress(content, MAX_BLOCK)
    except zlib.error:
        return text, False
    return text, decompressor.eof


def _read_profile(field: str, text: str, blocks: dict[str, list[bytes]]) -> bool:
    """Decode a block in hexadecimal digits; return whether the field holds one."""
    match = _PROFILE.fullmatch(field)
    digits = text
    if match:  # a line with the name, a line with the length, then the digits
        digits = "".join(text.split("\n")[3:]) if text.startswith("\n") else text
    elif field != "IPTC":  # mflux
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
