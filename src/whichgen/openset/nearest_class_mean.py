"""Nearest class mean (Mensink et al., 2013), by cosine.

With μ_j the mean of the unit-length training features of origin j::

    s(x) = max_j cos(x, μ_j)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from whichgen.heads.base import check_training
from whichgen.heads.knn import normalize_rows
from whichgen.openset.base import class_means


@dataclass(frozen=True)
class PrototypeScore:
    """``prototypes`` float32 (origins, d) of unit length."""

    prototypes: np.ndarray

    def __call__(self, features: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """The cosine to the most similar prototype: float64 array (n,) in [-1, 1]."""
        cosines = normalize_rows(features).astype(np.float64) @ self.prototypes.T
        return np.asarray(np.clip(cosines.max(axis=1), -1, 1))

    def tensors(self) -> dict[str, np.ndarray]:
        """``prototypes``."""
        return {"prototypes": self.prototypes}


@dataclass(frozen=True)
class Prototype:
    """The family of nearest-class-mean scores."""

    name: str = "prototype"

    def fit(
        self, features: np.ndarray, logits: np.ndarray, labels: np.ndarray, n_origins: int
    ) -> PrototypeScore:
        """The mean direction of each origin.

        Raises
        ------
        FitError
            An origin has no image, or a feature is not finite.
        """
        check_training(features, labels, n_origins)
        return PrototypeScore(
            normalize_rows(class_means(normalize_rows(features), labels, n_origins))
        )

    def restore(self, tensors: Mapping[str, np.ndarray]) -> PrototypeScore:
        """The score of these prototypes."""
        return PrototypeScore(tensors["prototypes"])
