"""Counts with a noun in messages, such as ``1 image`` and ``2 images``."""

from __future__ import annotations


def format_count(count: int, noun: str) -> str:
    """Return a count and its noun, with ``s`` appended to the noun unless the count is 1.

    Thousands are separated by commas.

    Examples
    --------
    >>> format_count(1, "exact duplicate"), format_count(1200, "exact duplicate")
    ('1 exact duplicate', '1,200 exact duplicates')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
