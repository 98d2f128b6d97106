"""Simplified Hopfield energy, SHE (Zhang et al., 2023): similarity to the predicted origin.

With S_j the mean feature of the correctly classified training images of origin j, and z the
logits::

    s(x) = x · S_ŷ,    ŷ = argmax_j z_j(x)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from whichgen.heads.base import HeadOutput
from whichgen.openset.base import OpenSetScore, class_means, well_classified


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
