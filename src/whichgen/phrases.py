"""Phrases in messages: counts with a noun (``2 images``) and lists of names (``a, b``)."""

from __future__ import annotations

from collections.abc import Iterable


def format_count(count: int, noun: str) -> str:
    """Return a count and its noun, with ``s`` appended to the noun unless the count is 1.

    Thousands are separated by commas.

    Examples
    --------
    >>> format_count(1, "exact duplicate"), format_count(1200, "exact duplicate")
    ('1 exact duplicate', '1,200 exact duplicates')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def join_names(names: Iterable[str], limit: int = 6) -> str:
    """Join at most ``limit`` names with commas; append the number of the remaining names."""
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
