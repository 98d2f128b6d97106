"""Extract provenance evidence from IPTC-IIM metadata, the predecessor of XMP."""

from __future__ import annotations

from collections.abc import Iterator

from whichgen.evidence.containers.metadata_blocks import decode_text
from whichgen.evidence.finding import Evidence
from whichgen.evidence.metadata.text_fields import interpret_text

#: Names of the fields of record 2. "Program" is the program that created the image.
_FIELDS = {
    5: "Title",
    25: "Keywords",
    40: "Instructions",
    65: "Program",
    80: "Author",
    105: "Headline",
    110: "Credit",
    115: "Source",
    116: "Copyright",
    120: "Caption",
}

#: Maximum number of entries that are read.
_MAX_ENTRIES = 200


def read_iptc(records: bytes) -> Evidence:
    """Extract provenance evidence from IPTC-IIM records.

    Parameters
    ----------
    records
        Concatenated entries. An entry consists of the byte 0x1C, the record number and the field
        number (one byte each), the size (two bytes, big-endian), and the content. Reading ends at
        the first entry that is invalid or larger than 32,767 bytes, or after 200 entries.
    """
    findings = [
        f for name, text in _iterate_fields(records) for f in interpret_text("iptc", name, text)
    ]
    return Evidence(tuple(findings))


def _iterate_fields(records: bytes) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each known field."""
    position = 0
    for _ in range(_MAX_ENTRIES):
        head = records[position : position + 5]
        if len(head) < 5 or head[0] != 0x1C:
            return
        size = int.from_bytes(head[3:5])
        if size & 0x8000:  # the size is in more than two bytes, which texts do not need
            return
        content = records[position + 5 : position + 5 + size]
        position += 5 + size
        if head[1] == 2 and head[2] in _FIELDS:
            yield _FIELDS[head[2]], decode_text(content)
