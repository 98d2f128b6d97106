"""The head families by name, as a model file names them."""

from __future__ import annotations

from whichgen.errors import FitError
from whichgen.heads.base import HeadMethod
from whichgen.heads.experts import Experts
from whichgen.heads.fusion import Fusion
from whichgen.heads.knn import KNearestNeighbors
from whichgen.heads.linear import LinearProbe

FAMILIES: dict[str, type[LinearProbe] | type[KNearestNeighbors] | type[Fusion] | type[Experts]] = {
    "linear": LinearProbe,
    "knn": KNearestNeighbors,
    "fusion": Fusion,
    "experts": Experts,
}


def family_of(name: str) -> HeadMethod:
    """The family with its default grid."""
    if name not in FAMILIES:
        raise FitError(f"unknown head {name!r}; there are {', '.join(FAMILIES)}.")
    return FAMILIES[name]()
