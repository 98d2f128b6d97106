"""Registry of open-set scores.

Implemented here on NumPy arrays rather than taken from the package pytorch-ood, which requires
torch tensors and torchvision, inverts covariances without shrinkage, and needs the head's weights
for ViM. ASH (Djurisic et al., 2023) is not included: it prunes a network's activations before later
layers, but here only the head follows the features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whichgen.errors import FitError
from whichgen.heads.base import HeadOutput, check_training_features
from whichgen.openset.base import OpenSetScore
from whichgen.openset.energy import Energy
from whichgen.openset.entropy import Entropy
from whichgen.openset.gaussian_mixture import ClassGaussianMixtures
from whichgen.openset.hopfield import Hopfield
from whichgen.openset.mahalanobis import Mahalanobis
from whichgen.openset.margin import Margin
from whichgen.openset.max_logit import MaxLogit
from whichgen.openset.max_probability import MaxProbability
from whichgen.openset.nearest_class_mean import NearestClassMean
from whichgen.openset.nearest_neighbors import NearestNeighbors
from whichgen.openset.openmax import OpenMax
from whichgen.openset.relative_mahalanobis import RelativeMahalanobis
from whichgen.openset.vim import Vim

#: The paper's score, which has nothing to fit.
MAX_PROBABILITY = MaxProbability()


@dataclass(frozen=True)
class ScoreMethod:
    """A kind of open-set score.

    Parameters
    ----------
    score
        The class whose instances are fitted scores.
    year, reference
        Year and authors of the publication that introduced it.
    """

    score: type[OpenSetScore]
    year: int
    reference: str

    def fit(self, output: HeadOutput, labels: np.ndarray, n_origins: int) -> OpenSetScore:
        """Fit the score; see :meth:`whichgen.openset.base.OpenSetScore.fit` for the parameters.

        Raises
        ------
        FitError
            An origin has no image, or a feature or logit is not finite.
        """
        check_training_features(output.embedding, labels, n_origins)
        if not np.isfinite(output.logits).all():
            raise FitError("the head's logits for training images contain NaN or infinity.")
        return self.score.fit(output, labels, n_origins)


#: All score methods by name, in the order of tables.
SCORES: dict[str, ScoreMethod] = {
    "max_probability": ScoreMethod(MaxProbability, 2017, "Hendrycks & Gimpel"),
    "entropy": ScoreMethod(Entropy, 1948, "Shannon"),
    "margin": ScoreMethod(Margin, 2001, "Scheffer, Decomain & Wrobel"),
    "max_logit": ScoreMethod(MaxLogit, 2022, "Hendrycks et al."),
    "energy": ScoreMethod(Energy, 2020, "Liu et al."),
    "openmax": ScoreMethod(OpenMax, 2016, "Bendale & Boult"),
    "mahalanobis": ScoreMethod(Mahalanobis, 2018, "Lee et al."),
    "relative_mahalanobis": ScoreMethod(RelativeMahalanobis, 2021, "Ren et al."),
    "nearest": ScoreMethod(NearestNeighbors, 2022, "Sun et al."),
    "vim": ScoreMethod(Vim, 2022, "Wang et al."),
    "prototype": ScoreMethod(NearestClassMean, 2013, "Mensink et al."),
    "gaussians": ScoreMethod(ClassGaussianMixtures, 2006, "Bishop, section 9.2"),
    "she": ScoreMethod(Hopfield, 2023, "Zhang et al."),
}


def score_method(name: str) -> ScoreMethod:
    """Return the score method of that name."""
    if name not in SCORES:
        raise FitError(f"unknown open-set score {name!r}. Choose from {', '.join(SCORES)}.")
    return SCORES[name]
