"""Validate the names of origins.

The names are used as names of folders and columns, as classes of saved models, as labels in
annotation files, and in comma-separated lists. Valid names can be used in all these places.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable

from whichgen.constants import SYNTHETIC, UNKNOWN
from whichgen.errors import DataError

#: Predictions that can't be names of origins.
RESERVED = frozenset({UNKNOWN, SYNTHETIC})

#: Maximum length of a name in bytes of UTF-8. A folder name is limited to 255 bytes and may have an
#: additional suffix.
MAX_NAME_BYTES = 200

#: Characters with a special meaning in lists and paths, and their names in messages.
_SEPARATORS = {",": "a comma", "/": "a slash", "\\": "a backslash"}

#: Unicode categories of control characters, surrogates (from file names that are not UTF-8) and
#: line breaks.
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})

#: Invisible characters that are allowed because they occur in emoji and in words.
_JOINERS = "\u200c\u200d"


def validate_origin_names(names: Iterable[str], *, reserved: Collection[str] = RESERVED) -> None:
    """Check that names can be the names of the origins of one dataset or model.

    Parameters
    ----------
    names
        Names of all origins.
    reserved
        Names that are not allowed, in lower case. The comparison is case-insensitive.

    Raises
    ------
    DataError
        A name is reserved, empty, a relative path (``.`` or ``..``), or longer than
        :data:`MAX_NAME_BYTES` bytes; begins or ends with white space; or contains a comma, slash,
        backslash or invisible character. Or two names differ only in upper and lower case or in
        their Unicode form (composed or decomposed letters).
    """
    names_by_key: dict[str, str] = {}
    for name in names:
        if name.casefold() in reserved:
            reason = f"{name.casefold()} is a reserved name. Use the name of the generator"
        else:
            reason = _explain_invalid(name)
        if reason:
            raise DataError(f"{name!r} is not a valid origin name: {reason}.")
        other = names_by_key.setdefault(fold_name(name), name)
        if other != name:
            aspect = "upper and lower case" if _compose(name) != _compose(other) else "Unicode form"
            raise DataError(
                f"the origins {other!a} and {name!a} differ only in {aspect}. Rename one of them, "
                "or put their images into one folder."
            )


def _explain_invalid(name: str) -> str:
    """Return why a name is invalid and what to do; an empty string if it is valid."""
    if not name.strip():
        return "it is empty. Use the name of the generator"
    if name != name.strip():
        return "it begins or ends with white space. Remove the white space"
    if name in (".", ".."):
        return "it is a relative path. Use the name of the generator"
    for character in name:
        if character in _SEPARATORS:
            return f"it contains {_SEPARATORS[character]}. Use - or _ instead"
        category = unicodedata.category(character)
        if category in _CONTROL or (category == "Cf" and character not in _JOINERS):
            return f"it contains the invisible character {character!a}. Remove the character"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"it has more than {MAX_NAME_BYTES} bytes. Use a shorter name"
    return ""


def fold_name(name: str) -> str:
    """Return a key that is the same for names that differ only in case or in Unicode form."""
    return _compose(_compose(name).casefold())


def _compose(name: str) -> str:
    """Return a name with composed letters (Unicode form NFC)."""
    return unicodedata.normalize("NFC", name)
