"""Bytes as decisions: a fuzzer that mutates bytes mutates what is built from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")

#: Texts that have broken a parser somewhere.
TEXTS = (
    *("", " ", "0", "-1", "1", "real", "gan", "unknown", "é", "²", "１２", "\u202e", "\u2028"),
    *("\ufeff", "\x00", "a\x00b", "\x1b[31m", "\r\n", "\t", "\ud800", "\udcff", "/", "..", "."),
    *("../../x", "/etc/passwd", "/dev/zero", "~", "C:\\x", "a/b", "a\\b", "%s{0}${x}", "NaN"),
    *("</script><script>alert(1)</script>", "=1+1", "x" * 300, "é" * 300, "9" * 5000, "a:b=c"),
)

#: JSON values that have broken a parser somewhere.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 255, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.5, 1e308),
    *(5e-324, float("nan"), float("inf"), float("-inf"), [], {}, [0], [0, 1], [[]], {"a": 1}),
    *TEXTS,
)


class Choices:
    """Read bytes from the front; an empty rest gives 0 or nothing."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def __bool__(self) -> bool:
        """Whether any bytes remain."""
        return self._at < len(self._data)

    def below(self, n: int) -> int:
        """Return a number in 0…n-1, below 65,536."""
        number = int.from_bytes(self.take(1 if n <= 256 else 2), "little")
        return number % n if n else 0

    def of(self, items: Sequence[T]) -> T:
        """Return one of the items."""
        return items[self.below(len(items))]

    def take(self, n: int) -> bytes:
        """Return at most the next n bytes."""
        data = self._data[self._at : self._at + n]
        self._at += n
        return data

    def block(self) -> bytes:
        """Return up to 255 bytes, preceded by their length."""
        return self.take(self.below(256))

    def rest(self) -> bytes:
        """Return all remaining bytes."""
        data = self._data[self._at :]
        self._at = len(self._data)
        return data

    def value(self) -> Any:
        """Return a JSON value: one of :data:`VALUES`, a small number, or a text."""
        kind = self.below(4)
        if kind == 0:
            return self.below(65_536) / self.of((1, 256, -7))
        if kind == 1:
            return self.text()
        return self.of(VALUES)

    def text(self) -> str:
        """Return one of :data:`TEXTS`, or the next bytes as text."""
        if self.below(2):
            return self.of(TEXTS)
        return self.take(self.below(24)).decode("utf-8", errors="surrogateescape")


def mutate(choices: Choices, data: bytes, most: int = 8) -> bytes:
    """Overwrite, insert, delete or duplicate some parts of the data."""
    result = bytearray(data)
    for _ in range(choices.below(most)):
        at = choices.below(min(len(result), 65_535) + 1)
        new = choices.take(1 + choices.below(8))
        kind = choices.below(4)
        if kind == 0:
            result[at : at + len(new)] = new
        elif kind == 1:
            result[at:at] = new
        elif kind == 2:
            del result[at : at + choices.below(64)]
        else:
            result[at:at] = result[at : at + choices.below(256)]
    return bytes(result)
