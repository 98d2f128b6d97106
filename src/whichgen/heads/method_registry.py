"""Registry of head methods by name."""

from __future__ import annotations

from collections.abc import Callable

from whichgen.errors import FitError
from whichgen.heads.experts import ExpertsMethod
from whichgen.heads.fusion import FusionMethod
from whichgen.heads.head import HeadMethod, SweepMethod
from whichgen.heads.knn import KnnMethod
from whichgen.heads.linear import LinearMethod

#: Methods for one feature block that can try many values of their hyperparameter.
SWEEP_METHODS: dict[str, Callable[[], SweepMethod]] = {"linear": LinearMethod, "knn": KnnMethod}

#: All head methods.
HEAD_METHODS: dict[str, Callable[[], HeadMethod]] = {
    **SWEEP_METHODS,
    "fusion": FusionMethod,
    "experts": ExpertsMethod,
}


def make_head_method(name: str) -> HeadMethod:
    """Create the head method with the given name and default settings.

    Raises
    ------
    FitError
        The name is unknown.
    """
    if name not in HEAD_METHODS:
        raise FitError(f"unknown head method {name!r}. Choose from {', '.join(HEAD_METHODS)}.")
    return HEAD_METHODS[name]()
