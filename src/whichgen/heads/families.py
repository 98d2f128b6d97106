"""The head families by name, as a model file names them."""

from __future__ import annotations

from whichgen.errors import FitError
from whichgen.heads.base import HeadFamily
from whichgen.heads.experts import Experts
from whichgen.heads.fusion import Fusion
from whichgen.heads.knn import KNearestNeighbours
from whichgen.heads.linear import LinearProbe

FAMILIES: dict[str, type[LinearProbe] | type[KNearestNeighbours] | type[Fusion] | type[Experts]] = {
    "linear": LinearProbe,
    "knn": KNearestNeighbours,
    "fusion": Fusion,
    "experts": Experts,
}


def family_of(name: str) -> HeadFamily:
    """The family with its default grid."""
    if name not in FAMILIES:
        raise FitError(f"unknown head {name!r}; there are {', '.join(FAMILIES)}.")
    return FAMILIES[name]()
