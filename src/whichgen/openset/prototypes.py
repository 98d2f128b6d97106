"""Open-set scores from the similarity to the mean training embedding of each origin.

Nearest class mean (Mensink et al., 2013), where x is the embedding of an image and μ_j is the mean
of the unit-length training embeddings of origin j::

    s(x) = max_j cos(x, μ_j)

Simplified Hopfield energy, SHE (Zhang et al., 2023), where S_j is the mean embedding of the
correctly classified training images of origin j (:func:`~whichgen.openset.score.select_correct`),
and z are the logits::

    s(x) = x · S_ŷ,    ŷ = argmax_j z_j(x)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from whichgen.heads.head import HeadOutput
from whichgen.heads.knn import normalize_rows
from whichgen.openset.score import OpenSetScore, compute_class_means, select_correct


@dataclass(frozen=True)
class NearestClassMean(OpenSetScore):
    """Nearest-class-mean score.

    Parameters
    ----------
    prototypes
        Means μ_j, scaled to unit length: float32 array (origins, d).
    """

    prototypes: np.ndarray

    @classmethod
    def fit(cls, output: HeadOutput, labels: np.ndarray, n_origins: int) -> Self:
        """Compute the prototype of each origin; see :meth:`OpenSetScore.fit`."""
        means = compute_class_means(normalize_rows(output.embedding), labels, n_origins)
        return cls(normalize_rows(means))

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute the largest cosine similarity to a prototype: float64 array (n,) in [-1, 1]."""
        cosines = normalize_rows(output.embedding).astype(np.float64) @ self.prototypes.T
        return np.asarray(np.clip(cosines.max(axis=1), -1, 1))


@dataclass(frozen=True)
class Hopfield(OpenSetScore):
    """Simplified Hopfield energy score.

    Parameters
    ----------
    patterns
        Mean embeddings S_j: float64 array (origins, d).
    """

    patterns: np.ndarray

    @classmethod
    def fit(cls, output: HeadOutput, labels: np.ndarray, n_origins: int) -> Self:
        """Compute the mean S_j of each origin j; see :meth:`OpenSetScore.fit`."""
        selected = select_correct(output.logits, labels)
        return cls(compute_class_means(output.embedding[selected], labels[selected], n_origins))

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute x · S_j for each embedding x and its predicted origin j: float64 array (n,)."""
        patterns = self.patterns[output.logits.argmax(axis=1)]
        return np.asarray((np.asarray(output.embedding, dtype=np.float64) * patterns).sum(axis=1))
