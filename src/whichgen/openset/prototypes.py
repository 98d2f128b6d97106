"""Similarity to the mean training features of an origin.

Nearest class mean (Mensink et al., 2013), with μ_j the mean of the unit-length training features of
origin j::

    s(x) = max_j cos(x, μ_j)

Simplified Hopfield energy, SHE (Zhang et al., 2023), with S_j the mean feature of the correctly
classified training images of origin j, and z the logits::

    s(x) = x · S_ŷ,    ŷ = argmax_j z_j(x)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from whichgen.heads.base import HeadOutput
from whichgen.heads.knn import normalize_rows
from whichgen.openset.base import OpenSetScore, class_means, well_classified


@dataclass(frozen=True)
class NearestClassMean(OpenSetScore):
    """Fitted score; ``prototypes`` are the μ_j scaled to unit length, float32 (origins, d)."""

    prototypes: np.ndarray

    @classmethod
    def fit(cls, output: HeadOutput, labels: np.ndarray, n_origins: int) -> Self:
        """Compute the mean direction of each origin; see :meth:`OpenSetScore.fit`."""
        means = class_means(normalize_rows(output.embedding), labels, n_origins)
        return cls(normalize_rows(means))

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute the cosine to the most similar prototype: float64 array (n,) in [-1, 1]."""
        cosines = normalize_rows(output.embedding).astype(np.float64) @ self.prototypes.T
        return np.asarray(np.clip(cosines.max(axis=1), -1, 1))


@dataclass(frozen=True)
class Hopfield(OpenSetScore):
    """Fitted score; ``patterns`` are the S_j, float64 (origins, d)."""

    patterns: np.ndarray

    @classmethod
    def fit(cls, output: HeadOutput, labels: np.ndarray, n_origins: int) -> Self:
        """Compute the pattern of each origin; see :meth:`OpenSetScore.fit`."""
        selected = well_classified(output.logits, labels)
        return cls(class_means(output.embedding[selected], labels[selected], n_origins))

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute the inner product with the predicted origin's pattern: float64 array (n,)."""
        patterns = self.patterns[output.logits.argmax(axis=1)]
        return np.asarray((np.asarray(output.embedding, dtype=np.float64) * patterns).sum(axis=1))
