"""Nearest class mean (Mensink et al., 2013), by cosine similarity.

With μ_j the mean of the unit-length training features of origin j::

    s(x) = max_j cos(x, μ_j)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from whichgen.heads.base import HeadOutput
from whichgen.heads.knn import normalize_rows
from whichgen.openset.base import OpenSetScore, class_means


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
