"""Extract provenance evidence from PNG text fields, JPEG comments and GIF comments."""

from __future__ import annotations

from whichgen.evidence.finding import Evidence
from whichgen.evidence.parameters import interpret_fields


def read_text(texts: tuple[tuple[str, str], ...]) -> Evidence:
    """Extract provenance evidence from text fields and comments.

    Parameters
    ----------
    texts
        Name and text of each field.
    """
    return Evidence(tuple(interpret_fields("text", list(texts))))
