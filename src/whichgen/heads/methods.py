"""The head families by name, as a model file names them."""

from __future__ import annotations

from whichgen.errors import FitError
from whichgen.heads.base import HeadMethod
from whichgen.heads.experts import ExpertsMethod
from whichgen.heads.fusion import FusionMethod
from whichgen.heads.knn import KnnMethod
from whichgen.heads.linear import LinearMethod

HEAD_METHODS: dict[
    str, type[LinearMethod] | type[KnnMethod] | type[FusionMethod] | type[ExpertsMethod]
] = {
    "linear": LinearMethod,
    "knn": KnnMethod,
    "fusion": FusionMethod,
    "experts": ExpertsMethod,
}


def head_method(name: str) -> HeadMethod:
    """The family with its default grid."""
    if name not in HEAD_METHODS:
        raise FitError(f"unknown head {name!r}; there are {', '.join(HEAD_METHODS)}.")
    return HEAD_METHODS[name]()
