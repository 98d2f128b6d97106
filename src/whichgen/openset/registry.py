"""The open-set scores by name, in the order of a table.

They are written here on numpy arrays because the package pytorch-ood wants torch tensors and
torchvision, inverts covariances that it does not shrink, and needs the head's weights for ViM. ASH
(Djurisic et al., 2023) is left out: it prunes a network's activations before the layers that follow
them, and here nothing follows the features but the head, whose logits a score is given.
"""

from __future__ import annotations

from whichgen.errors import FitError
from whichgen.openset.base import LogitScore, ScoreMethod
from whichgen.openset.gaussian_mixture import Gaussians
from whichgen.openset.hopfield import Hopfield
from whichgen.openset.logit import energy, max_logit
from whichgen.openset.mahalanobis import Mahalanobis, RelativeMahalanobis
from whichgen.openset.nearest_class_mean import Prototype
from whichgen.openset.nearest_neighbors import DeepNearestNeighbors
from whichgen.openset.openmax import OpenMax
from whichgen.openset.probability import margin, max_probability, negative_entropy
from whichgen.openset.vim import Vim

#: The paper's score, which has nothing to fit.
MAX_PROBABILITY = LogitScore("max_probability", max_probability)

_FAMILIES: tuple[ScoreMethod, ...] = (
    MAX_PROBABILITY,
    LogitScore("entropy", negative_entropy),
    LogitScore("margin", margin),
    LogitScore("max_logit", max_logit),
    LogitScore("energy", energy),
    OpenMax(),
    Mahalanobis(),
    RelativeMahalanobis(),
    DeepNearestNeighbors(),
    Vim(),
    Prototype(),
    Gaussians(),
    Hopfield(),
)

#: Every family with its default parameters.
SCORES: dict[str, ScoreMethod] = {family.name: family for family in _FAMILIES}


def score_method(name: str) -> ScoreMethod:
    """The family of that name."""
    if name not in SCORES:
        raise FitError(f"unknown open-set score {name!r}; there are {', '.join(SCORES)}.")
    return SCORES[name]
