"""Read the label of AI-generated content that Chinese law requires (GB 45438-2025).

Programs write the label as JSON into XMP (``TC260:AIGC``), into a PNG text field ``AIGC`` or into
the EXIF user comment. The value of its key ``Label`` is 1 for generated content, 2 for possibly
generated content, and 3 for content that a platform suspects to be generated.
"""

from __future__ import annotations

import re
from typing import Any

from whichgen.evidence.finding import Finding, Strength
from whichgen.evidence.generator_patterns import find_generator
from whichgen.evidence.untrusted_text import parse_json

#: Name of the field that contains the label.
FIELD = "AIGC"

#: Keys of the label besides ``Label``, in lower case. A JSON object must contain at least one of
#: them, because many programs write a key ``Label``.
_KEYS = frozenset(
    {"contentproducer", "produceid", "reservedcode1", "contentpropagator", "propagateid"}
)
#: Strength and meaning of each value of ``Label``.
_MEANINGS: dict[str, tuple[Strength, str]] = {
    "1": ("strong", "AI-generated content"),
    "2": ("weak", "possibly AI-generated content"),
    "3": ("weak", "suspected AI-generated content"),
}
#: Label and producer in a text that is not a JSON object with a label.
_LABEL = re.compile(r"\bLabel\W{1,6}([123])\b", re.IGNORECASE)
_PRODUCER = re.compile(r"\bContentProducer\W{1,6}([\w.\- ]{2,80})", re.IGNORECASE)

#: Maximum number of characters that are searched for label and producer.
_MAX_SEARCH = 5000


def read_aigc_label(kind: str, field: str, value: Any) -> Finding | None:
    """Create a finding from the JSON of a label.

    Parameters
    ----------
    kind, field
        Type of metadata and name of the field.
    value
        The JSON object of the label, or a JSON object with the label, as an object or text, under
        the key ``AIGC``. Values of other types contain no label.

    Returns
    -------
    Finding or None
        ``None`` if the value contains no label, or if ``Label`` is not 1, 2 or 3.
    """
    if not isinstance(value, dict):
        return None
    entries = {str(key).lower(): entry for key, entry in value.items()}
    if isinstance(label := entries.get(FIELD.lower()), dict | str):
        if isinstance(label, str):
            return read_aigc_text(kind, field, label)
        return read_aigc_label(kind, field, label)
    if not _KEYS & entries.keys():
        return None
    producer = entries.get("contentproducer")
    return _create_finding(kind, field, str(entries.get("label")), str(producer or ""))


def read_aigc_text(kind: str, field: str, text: str) -> Finding | None:
    """Create a finding from the text of an ``AIGC`` field.

    Parameters
    ----------
    kind, field
        Type of metadata and name of the field.
    text
        Text of the field. If it is not a JSON object with a label, its first 5000 characters are
        searched for ``Label`` and a value.

    Returns
    -------
    Finding or None
        ``None`` if the text contains no label, or if ``Label`` is not 1, 2 or 3.
    """
    value = parse_json(text)
    if isinstance(value, dict) and (finding := read_aigc_label(kind, field, value)):
        return finding
    label, producer = _LABEL.search(text[:_MAX_SEARCH]), _PRODUCER.search(text[:_MAX_SEARCH])
    return (
        _create_finding(kind, field, label[1], producer[1] if producer else "") if label else None
    )


def _create_finding(kind: str, field: str, label: str, producer: str) -> Finding | None:
    if label.strip() not in _MEANINGS:
        return None
    strength, meaning = _MEANINGS[label.strip()]
    generator = find_generator(producer)
    return Finding(
        kind=kind,
        title=f"{field}: label of {meaning} (GB 45438)",
        detail=f"content producer {producer}" if producer else "",
        indicates="synthetic",
        generator=generator.name if generator else "",
        strength=strength,
    )
