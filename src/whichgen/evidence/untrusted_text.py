"""Clean strings and parse JSON from untrusted files, with limits on length and nesting depth."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

#: Default maximum number of characters of a cleaned string.
MAX_LINE_LENGTH = 300

#: Maximum number of characters of a text that is parsed; a ComfyUI workflow of hundreds of nodes is
#: far smaller.
MAX_TEXT = 2_000_000

#: Maximum depth of a JSON value. A string or number has depth 1, an array of numbers has depth 2.
_MAX_DEPTH = 64

# Unicode categories: control, format (such as reversed writing direction, which can disguise text),
# surrogate, private use and unassigned characters.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def clean(text: str, max_length: int = MAX_LINE_LENGTH) -> str:
    """Convert text to one printable line of at most ``max_length`` characters.

    White space is collapsed to single spaces and removed at both ends, and unprintable characters
    are removed. Only the first ``8 * max_length`` characters are read. A truncated line ends with
    ``…``, which counts as one character.
    """
    # Read more than max_length characters, because the line may be shorter than the text.
    head = text[: 8 * max_length]
    words = "".join(
        " " if c.isspace() else c
        for c in head
        if c.isspace() or unicodedata.category(c) not in _UNPRINTABLE
    ).split()
    line = " ".join(words)
    if len(line) <= max_length and len(head) == len(text):
        return line
    return line[: max_length - 1] + "…"


def parse_json(text: str) -> Any:
    """Parse JSON; return ``None`` if the text is too long, invalid or too deeply nested.

    The limits are :data:`MAX_TEXT` characters and a depth of 64 nested values, including the
    innermost string or number.
    """
    if len(text) > MAX_TEXT:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if _is_shallow(value) else None


def as_dict(value: Any) -> dict[str, Any]:
    """Return a JSON value if it is an object, otherwise an empty dictionary."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return a JSON value if it is an array, otherwise an empty list."""
    return value if isinstance(value, list) else []


def _is_shallow(value: Any) -> bool:
    """Return whether the depth of a JSON value is at most :data:`_MAX_DEPTH`."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return True
    return False
