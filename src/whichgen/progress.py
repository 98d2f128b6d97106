"""Progress reporting: how a long loop shows how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

#: Wraps an iterable and shows a progress bar: ``progress(items, description=…, total=…)``.
Progress = Callable[..., Iterable[Any]]


def no_progress(items: Iterable[Any], **_: Any) -> Iterable[Any]:
    """Return the items unchanged: the :data:`Progress` that shows nothing."""
    return items
