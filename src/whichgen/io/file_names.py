"""Escape file names that are not valid UTF-8.

On Linux, a file name can contain any bytes except NUL and ``/``. Python represents bytes that are
not UTF-8 as lone surrogates. Such a name can be used to open the file, but it can't be encoded in
UTF-8.
"""

from __future__ import annotations

import re
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_BYTE = re.compile(r"\\x([89a-f][0-9a-f])")


def escape_name(text: str) -> str:
    r"""Escape lone surrogates in a text, so that the text can be displayed or written.

    A surrogate that represents a byte is replaced by ``\x`` and two hexadecimal digits, such as
    ``\xe9``, and any other surrogate by ``\u`` and four, such as ``\ud800``.
    """
    return text if text.isascii() else _SURROGATE.sub(_escape, text)


def unescape_name(text: str) -> str:
    r"""Convert escaped bytes, such as ``\xe9``, back to the surrogates that represent them.

    This restores a name that :func:`escape_name` changed, unless the name contains other surrogates
    or already contained such a sequence of characters.
    """
    return _ESCAPED_BYTE.sub(lambda match: chr(0xDC00 + int(match[1], 16)), text)


def escape_names(value: Any) -> Any:
    """Apply :func:`escape_name` to all strings, including keys, in a JSON-compatible value.

    Tuples become lists.
    """
    if isinstance(value, str):
        return escape_name(value)
    if isinstance(value, dict):
        return {escape_names(key): escape_names(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [escape_names(item) for item in value]
    return value


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
