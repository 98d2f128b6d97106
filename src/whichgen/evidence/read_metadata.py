"""Read metadata (except Content Credentials) and text hidden in the pixels of an image file."""

from __future__ import annotations

from functools import partial

from PIL import Image

from whichgen.data.images.png import SIGNATURE
from whichgen.evidence.containers.bmff_blocks import find_bmff_blocks, find_bmff_mime
from whichgen.evidence.containers.jpeg_blocks import find_jpeg_blocks
from whichgen.evidence.containers.metadata_blocks import Blocks
from whichgen.evidence.containers.png_blocks import find_png_blocks
from whichgen.evidence.containers.webp_blocks import find_webp_blocks
from whichgen.evidence.finding import Evidence
from whichgen.evidence.hidden_data.hidden_parameters import read_hidden_parameters
from whichgen.evidence.metadata.exif import load_exif, read_exif
from whichgen.evidence.metadata.iptc import read_iptc
from whichgen.evidence.metadata.jpeg_tables import read_jpeg
from whichgen.evidence.metadata.text_fields import interpret_fields
from whichgen.evidence.metadata.xmp import read_xmp
from whichgen.evidence.run_readers import Reader, run_readers

#: Maximum number of blocks of EXIF, of XMP and of IPTC that are read; most files have one.
_MAX_BLOCKS = 4

#: Tag of IPTC in TIFF files.
_TIFF_IPTC = 33723


def read_metadata(data: bytes, image: Image.Image | None) -> Evidence:
    """Extract provenance evidence from text fields, XMP, IPTC, EXIF, hidden text and JPEG tables.

    Hidden text is stored in the lowest bits of the pixels. A note reports each part that can't be
    read.

    Parameters
    ----------
    data
        Content of the image file.
    image
        The image as opened by Pillow; ``None`` if Pillow can't open it. The text fields, XMP, IPTC
        and EXIF of PNG, JPEG, WebP, HEIC, AVIF and JPEG XL files are read even then.
    """
    blocks = _find_blocks(data, image)
    notes = list(blocks.notes)
    exif_readers: list[Reader] = [
        partial(_read_exif_block, block) for block in blocks.exif[:_MAX_BLOCKS] if block
    ]
    if not exif_readers and image is not None and image.format in ("TIFF", "JPEG2000"):
        exif_readers = [lambda: read_exif(image.getexif())]
    exif = run_readers(("EXIF", reader) for reader in exif_readers)
    has_camera = any(finding.indicates == "camera" for finding in exif.findings)
    readers: list[tuple[str, Reader]] = [
        ("text fields", lambda: Evidence(tuple(interpret_fields("text", blocks.texts)))),
        ("EXIF", lambda: exif),
    ]
    for packet in blocks.xmp[:_MAX_BLOCKS]:
        readers.append(("XMP", partial(read_xmp, packet, has_camera=has_camera)))
    readers += [("IPTC", partial(read_iptc, records)) for records in blocks.iptc[:_MAX_BLOCKS]]
    if image is not None:
        readers.append(("hidden text", lambda: read_hidden_parameters(image)))
        readers.append(("JPEG tables", lambda: read_jpeg(image)))
    evidence = run_readers(readers)
    for kind, contents in (("EXIF", blocks.exif), ("XMP", blocks.xmp), ("IPTC", blocks.iptc)):
        if len(contents) > _MAX_BLOCKS:
            notes.append(f"only the first {_MAX_BLOCKS} {kind} blocks were read")
    return Evidence(evidence.findings, (*notes, *evidence.notes))


def _read_exif_block(block: bytes) -> Evidence:
    """Extract provenance evidence from an EXIF block; a note reports a block without fields."""
    exif = load_exif(block)
    return read_exif(exif) if exif else Evidence(notes=("EXIF contains no readable fields",))


def _find_blocks(data: bytes, image: Image.Image | None) -> Blocks:
    """Find the metadata blocks of an image file; the parameters are as in :func:`read_metadata`."""
    if data.startswith(SIGNATURE):
        return find_png_blocks(data)
    if data.startswith(b"\xff\xd8"):
        return find_jpeg_blocks(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return find_webp_blocks(data)
    if find_bmff_mime(data):
        return find_bmff_blocks(data)
    if image is None:
        return Blocks()
    return _find_other_blocks(image)


def _find_other_blocks(image: Image.Image) -> Blocks:
    """Find the metadata blocks of other formats, such as TIFF and GIF, except EXIF, with Pillow."""
    comment, xmp = image.info.get("comment"), image.info.get("xmp")
    if isinstance(comment, bytes):
        comment = comment.decode("utf-8", errors="replace")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    iptc = image.getexif().get(_TIFF_IPTC) if image.format == "TIFF" else None
    return Blocks(
        texts=(("comment", comment),) if isinstance(comment, str) else (),
        xmp=(xmp,) if isinstance(xmp, bytes) else (),
        iptc=(iptc,) if isinstance(iptc, bytes) else (),
    )
