"""Counts with a noun in messages, such as ``1 image`` and ``2 images``."""

from __future__ import annotations


def format_count(count: int, noun: str) -> str:
    """Return a count and its noun, with ``s`` appended to the noun unless the count is 1.

    Examples
    --------
    >>> format_count(1, "exact duplicate"), format_count(0, "exact duplicate")
    ('1 exact duplicate', '0 exact duplicates')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
