"""Choose fonts for all characters of a PDF report."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator
from importlib.util import find_spec
from pathlib import Path

from fontTools.ttLib import TTFont
from matplotlib import get_data_path
from matplotlib.font_manager import findSystemFonts

from whichgen.errors import DataError

_FOLDER = Path(get_data_path()) / "fonts" / "ttf"

#: Regular and bold font of reports: Latin, Greek, Cyrillic, Hebrew, Arabic, symbols, some emoji.
REGULAR, BOLD = _FOLDER / "DejaVuSans.ttf", _FOLDER / "DejaVuSans-Bold.ttf"

#: Characters that need no glyph: Unicode categories, and code points of variation selectors.
_INVISIBLE_CATEGORIES = ("Cc", "Cf")
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)

#: Maximum number of characters listed in a message.
_MAX_CHARACTERS = 5


def has_right_to_left(text: str) -> bool:
    """Return whether a text contains right-to-left characters, such as Arabic or Hebrew letters."""
    return any(unicodedata.bidirectional(c) in ("R", "AL") for c in text)


def find_fallback_fonts(text: str) -> list[Path]:
    """Find installed fonts for characters that :data:`REGULAR` or :data:`BOLD` does not contain.

    Parameters
    ----------
    text
        All text of the report.

    Returns
    -------
    list of pathlib.Path
        TrueType fonts that together contain these characters; empty if there are no such
        characters.

    Raises
    ------
    DataError
        A character is in no installed TrueType font, or the text contains right-to-left characters
        and the package uharfbuzz is missing.
    """
    if has_right_to_left(text) and not find_spec("uharfbuzz"):
        raise DataError(
            "a PDF with right-to-left text, such as Arabic or Hebrew, needs the package uharfbuzz. "
            "Install it with `pip install uharfbuzz`, or choose an HTML report."
        )
    missing_characters = {c for c in set(text) if not _is_invisible(c)}
    missing_characters -= _list_characters(REGULAR, missing_characters) & _list_characters(
        BOLD, missing_characters
    )
    fonts = []
    for font in _list_system_fonts() if missing_characters else ():
        if characters := _list_characters(font, missing_characters):
            fonts.append(font)
            missing_characters -= characters
        if not missing_characters:
            return fonts
    if missing_characters:
        examples = " ".join(sorted(missing_characters)[:_MAX_CHARACTERS])
        ellipsis = " …" if len(missing_characters) > _MAX_CHARACTERS else ""
        raise DataError(
            "no installed TrueType font contains these characters of the PDF report: "
            f"{examples}{ellipsis}. Install a TrueType font (.ttf) that contains them (Droid Sans "
            "Fallback for Chinese, Japanese and Korean), or choose an HTML report."
        )
    return fonts


def _is_invisible(character: str) -> bool:
    return (
        unicodedata.category(character) in _INVISIBLE_CATEGORIES
        or ord(character) in _VARIATION_SELECTORS
    )


def _list_system_fonts() -> Iterator[Path]:
    """Yield the TrueType fonts on this computer; fonts with ``regular`` in their name are first."""
    fonts = [Path(font) for font in findSystemFonts() if Path(font).suffix.lower() == ".ttf"]
    yield from sorted(fonts, key=lambda font: ("regular" not in font.stem.lower(), font))


def _list_characters(file: Path, candidates: Collection[str]) -> set[str]:
    """Return the candidates that a font can draw; empty if the font can't be embedded."""
    try:
        with TTFont(file, lazy=True) as font:
            if "glyf" not in font:  # bitmaps or outlines that fpdf can't embed
                return set()
            glyphs = font.getBestCmap() or {}
    except Exception:  # damaged fonts raise various exceptions
        return set()
    return {c for c in candidates if ord(c) in glyphs}
