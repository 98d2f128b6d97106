"""Build structured values from random bytes: each decision reads some of the bytes.

A fuzzer that mutates the bytes thereby mutates the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")

#: Texts that often cause errors in parsers.
TEXTS = (
    *("", " ", "0", "-1", "1", "real", "gan", "unknown", "é", "²", "１２", "\u202e", "\u2028"),
    *("\ufeff", "\x00", "a\x00b", "\x1b[31m", "\r\n", "\t", "\ud800", "\udcff", "/", "..", "."),
    *("../../x", "/etc/passwd", "/dev/zero", "~", "C:\\x", "a/b", "a\\b", "%s{0}${x}", "NaN"),
    *("</script><script>alert(1)</script>", "=1+1", "x" * 300, "é" * 300, "9" * 5000, "a:b=c"),
)

#: JSON values that often cause errors in parsers.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 255, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.5, 1e308),
    *(5e-324, float("nan"), float("inf"), float("-inf"), [], {}, [0], [0, 1], [[]], {"a": 1}),
    *TEXTS,
)


class Choices:
    """Make decisions by reading bytes in order.

    When no bytes remain, numbers are 0, and bytes and texts are empty or the first candidate.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def __bool__(self) -> bool:
        """Return whether bytes remain."""
        return self._position < len(self._data)

    def draw_below(self, n: int) -> int:
        """Return an integer from 0 to n - 1, but at most 65,535; 0 if n is 0."""
        number = int.from_bytes(self.take(1 if n <= 256 else 2), "little")
        return number % n if n else 0

    def choose(self, items: Sequence[T]) -> T:
        """Return one of the items."""
        return items[self.draw_below(len(items))]

    def take(self, n: int) -> bytes:
        """Return at most the next n bytes."""
        data = self._data[self._position : self._position + n]
        self._position += n
        return data

    def take_block(self) -> bytes:
        """Read a length of at most 255, and return this number of bytes."""
        return self.take(self.draw_below(256))

    def take_rest(self) -> bytes:
        """Return all remaining bytes."""
        data = self._data[self._position :]
        self._position = len(self._data)
        return data

    def draw_value(self) -> Any:
        """Return a JSON value: one of :data:`VALUES`, a number, or a text."""
        kind = self.draw_below(4)
        if kind == 0:
            return self.draw_below(65_536) / self.choose((1, 256, -7))
        if kind == 1:
            return self.draw_text()
        return self.choose(VALUES)

    def draw_text(self) -> str:
        """Return one of :data:`TEXTS`, or the next bytes as text."""
        if self.draw_below(2):
            return self.choose(TEXTS)
        return self.take(self.draw_below(24)).decode("utf-8", errors="surrogateescape")


def mutate(choices: Choices, data: bytes, limit: int = 8) -> bytes:
    """Return a copy of ``data`` in which fewer than ``limit`` parts are changed.

    A change overwrites, inserts, deletes or duplicates some bytes.
    """
    result = bytearray(data)
    for _ in range(choices.draw_below(limit)):
        start = choices.draw_below(min(len(result), 65_535) + 1)
        new = choices.take(1 + choices.draw_below(8))
        kind = choices.draw_below(4)
        if kind == 0:
            result[start : start + len(new)] = new
        elif kind == 1:
            result[start:start] = new
        elif kind == 2:
            del result[start : start + choices.draw_below(64)]
        else:
            result[start:start] = result[start : start + choices.draw_below(256)]
    return bytes(result)
