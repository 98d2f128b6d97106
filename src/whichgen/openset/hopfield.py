"""Simplified Hopfield energy, SHE (Zhang et al., 2023): how like its origin's pattern x is.

With S_j the mean feature of origin j's well classified training images, and z the logits::

    s(x) = x · S_ŷ,    ŷ = argmax_j z_j(x)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from whichgen.openset.base import check_training, class_means, well_classified


@dataclass(frozen=True)
class HopfieldScore:
    """``patterns`` float64 (origins, d)."""

    patterns: np.ndarray

    def __call__(self, features: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """The inner product with the predicted origin's pattern: float64 array (n,)."""
        patterns = self.patterns[logits.argmax(axis=1)]
        return np.asarray((np.asarray(features, dtype=np.float64) * patterns).sum(axis=1))

    def tensors(self) -> dict[str, np.ndarray]:
        """``patterns``."""
        return {"patterns": self.patterns}


@dataclass(frozen=True)
class Hopfield:
    """The family of simplified Hopfield energies."""

    name: str = "she"

    def fit(
        self, features: np.ndarray, logits: np.ndarray, labels: np.ndarray, n_origins: int
    ) -> HopfieldScore:
        """The pattern of each origin.

        Raises
        ------
        FitError
            An origin has no image, or a feature or logit is not finite.
        """
        check_training(features, logits, labels, n_origins)
        good = well_classified(logits, labels)
        return HopfieldScore(class_means(features[good], labels[good], n_origins))

    def restore(self, tensors: Mapping[str, np.ndarray]) -> HopfieldScore:
        """The score of these patterns."""
        return HopfieldScore(tensors["patterns"])
