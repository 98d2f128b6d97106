"""Strings and JSON from files that may be hostile, within limits."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

#: Characters of one field that are kept.
MOST_CHARACTERS = 300

#: Characters of one text that are looked at; workflows of hundreds of nodes are far below.
MOST_READ = 2_000_000

#: Levels of a JSON value that are looked at.
_DEEPEST = 64

# Control characters, surrogates, private use, unassigned, and format characters, among them those
# that turn the writing direction round and would let a file rewrite the line it is printed on.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def clean(text: str, most: int = MOST_CHARACTERS) -> str:
    """One printable line of at most ``most`` characters; what was cut off is told by ``…``."""
    # Any run of white space counts as one space, so a text is looked at further than it is kept.
    looked_at = text[: 8 * most]
    words = "".join(
        " " if c.isspace() else c
        for c in looked_at
        if c.isspace() or unicodedata.category(c) not in _UNPRINTABLE
    ).split()
    line = " ".join(words)
    if len(line) <= most and len(looked_at) == len(text):
        return line
    return line[: most - 1] + "…"


def bounded_json(text: str) -> Any:
    """A JSON value, or ``None``: not JSON, too long, too deep, or a number too long to read."""
    if len(text) > MOST_READ:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if _is_shallow(value) else None


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return True
    return False
