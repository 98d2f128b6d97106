"""Registry of open-set scores by name.

The scores are implemented with NumPy. The package pytorch-ood is not used because it requires
torch tensors and torchvision, inverts covariances without shrinkage, and needs the head's weights
for ViM. ASH (Djurisic et al., 2023) is not included because it prunes activations between the
layers of a network, whereas these scores use only the output of the head.
"""

from __future__ import annotations

import numpy as np

from whichgen.errors import FitError
from whichgen.heads.head import HeadOutput, check_training_features
from whichgen.openset.logit_scores import Energy, Entropy, Margin, MaxLogit, MaxProbability
from whichgen.openset.mahalanobis import Mahalanobis, RelativeMahalanobis
from whichgen.openset.nearest_neighbors import NearestNeighbors
from whichgen.openset.openmax import OpenMax
from whichgen.openset.prototypes import Hopfield, NearestClassMean
from whichgen.openset.score import OpenSetScore
from whichgen.openset.vim import Vim

#: The score of the paper (UniversalAttribution), which does not need to be fitted.
MAX_PROBABILITY = MaxProbability()

#: Class of each score by name, in the order in which tables list them.
SCORES: dict[str, type[OpenSetScore]] = {
    "max_probability": MaxProbability,
    "entropy": Entropy,
    "margin": Margin,
    "max_logit": MaxLogit,
    "energy": Energy,
    "openmax": OpenMax,
    "mahalanobis": Mahalanobis,
    "relative_mahalanobis": RelativeMahalanobis,
    "nearest": NearestNeighbors,
    "vim": Vim,
    "prototype": NearestClassMean,
    "she": Hopfield,
}


def get_score_class(name: str) -> type[OpenSetScore]:
    """Return the class of the score with the given name.

    Raises
    ------
    FitError
        The name is unknown.
    """
    if name not in SCORES:
        raise FitError(f"unknown open-set score {name!r}. Choose from {', '.join(SCORES)}.")
    return SCORES[name]


def fit_score(name: str, output: HeadOutput, labels: np.ndarray, n_origins: int) -> OpenSetScore:
    """Fit the score called ``name``; see :meth:`OpenSetScore.fit` for the other parameters.

    Raises
    ------
    FitError
        The numbers of images and labels differ, a label is not below ``n_origins``, an origin has
        no image, a value of the embedding or a logit is not finite, or the name is unknown.
    """
    check_training_features(output.embedding, labels, n_origins)
    if not np.isfinite(output.logits).all():
        raise FitError(
            "the head's logits for training images contain NaN or infinity. Remove images with "
            "extreme features, or fit the head with another value of its hyperparameter."
        )
    return get_score_class(name).fit(output, labels, n_origins)
