"""File names that are not valid UTF-8.

On Linux, a file name can contain any bytes. Python represents bytes that are not UTF-8 as lone
surrogates. Such a name can be used to open the file, but it can't be encoded as text.
"""

from __future__ import annotations

import re
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")
_SHOWN_BYTE = re.compile(r"\\x([89a-f][0-9a-f])")


def show_name(text: str) -> str:
    r"""Return a text as valid Unicode, so that it can be displayed or written.

    Bytes that are not UTF-8 are escaped as ``\xe9``, other lone surrogates as ``\ud800``.
    """
    return text if text.isascii() else _SURROGATE.sub(_escape, text)


def restore_name(text: str) -> str:
    r"""Return the file name for a name escaped by :func:`show_name`: unescape ``\xe9``."""
    return _SHOWN_BYTE.sub(lambda match: chr(0xDC00 + int(match[1], 16)), text)


def show_names(value: Any) -> Any:
    """Apply :func:`show_name` to all strings in a JSON-compatible value."""
    if isinstance(value, str):
        return show_name(value)
    if isinstance(value, dict):
        return {show_names(key): show_names(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [show_names(item) for item in value]
    return value


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
