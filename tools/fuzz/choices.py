"""Bytes as decisions: a fuzzer that changes bytes changes what is built of them."""

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

#: JSON values likewise.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 255, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.5, 1e308),
    *(5e-324, float("nan"), float("inf"), float("-inf"), [], {}, [0], [0, 1], [[]], {"a": 1}),
    *TEXTS,
)


class Choices:
    """Reads bytes from the front; what is asked of an empty rest is 0 or nothing."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._data)

    def below(self, n: int) -> int:
        """A number of 0…n-1, of at most 65,536."""
        found = int.from_bytes(self.take(1 if n <= 256 else 2), "little")
        return found % n if n else 0

    def of(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.below(len(items))]

    def take(self, n: int) -> bytes:
        """At most the next n bytes."""
        found = self._data[self._at : self._at + n]
        self._at += n
        return found

    def block(self) -> bytes:
        """Up to 255 bytes, whose length comes first."""
        return self.take(self.below(256))

    def rest(self) -> bytes:
        """All that is left."""
        found = self._data[self._at :]
        self._at = len(self._data)
        return found

    def value(self) -> Any:
        """A JSON value: one of :data:`VALUES`, a small number, or a text."""
        kind = self.below(4)
        if kind == 0:
            return self.below(65_536) / self.of((1, 256, -7))
        if kind == 1:
            return self.text()
        return self.of(VALUES)

    def text(self) -> str:
        """One of :data:`TEXTS`, or what the next bytes spell."""
        if self.below(2):
            return self.of(TEXTS)
        return self.take(self.below(24)).decode("utf-8", errors="surrogateescape")


def changed(choices: Choices, data: bytes, most: int = 8) -> bytes:
    """The data with some stretches overwritten, cut out, doubled or put in."""
    found = bytearray(data)
    for _ in range(choices.below(most)):
        at = choices.below(min(len(found), 65_535) + 1)
        new = choices.take(1 + choices.below(8))
        kind = choices.below(4)
        if kind == 0:
            found[at : at + len(new)] = new
        elif kind == 1:
            found[at:at] = new
        elif kind == 2:
            del found[at : at + choices.below(64)]
        else:
            found[at:at] = found[at : at + choices.below(256)]
    return bytes(found)
