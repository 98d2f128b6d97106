"""Registry of head methods, by the names that model files use."""

from __future__ import annotations

from collections.abc import Callable

from whichgen.errors import FitError
from whichgen.heads.base import HeadMethod
from whichgen.heads.experts import ExpertsMethod
from whichgen.heads.fusion import FusionMethod
from whichgen.heads.knn import KnnMethod
from whichgen.heads.linear import LinearMethod

HEAD_METHODS: dict[str, Callable[[], HeadMethod]] = {
    "linear": LinearMethod,
    "knn": KnnMethod,
    "fusion": FusionMethod,
    "experts": ExpertsMethod,
}


def head_method(name: str) -> HeadMethod:
    """Return the head method of that name with its default candidate values."""
    if name not in HEAD_METHODS:
        raise FitError(f"unknown head {name!r}. Choose from {', '.join(HEAD_METHODS)}.")
    return HEAD_METHODS[name]()
