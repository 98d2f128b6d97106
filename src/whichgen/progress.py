"""Progress reporting for long loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

#: Type of a function ``progress(items, description=…, total=…)`` that yields ``items`` and shows a
#: progress bar. ``description`` is the text before the bar, and ``total`` the number of items.
Progress = Callable[..., Iterable[Any]]


def no_progress(items: Iterable[Any], **_: Any) -> Iterable[Any]:
    """Return ``items`` unchanged: a :data:`Progress` function that shows no progress bar."""
    return items
