"""Deep nearest neighbors (Sun et al., 2022): how near the k-th nearest training image is.

With z = x/‖x‖ and z_(k) the k-th nearest of the training images' z::

    s(x) = −‖z − z_(k)‖
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import faiss
import numpy as np

from whichgen.errors import FitError
from whichgen.heads.base import check_training
from whichgen.heads.knn import normalize_rows


@dataclass(frozen=True)
class NearestScore:
    """``exemplars`` float32 (n, d) of unit length, and ``k``."""

    exemplars: np.ndarray
    k: int

    def __call__(self, features: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Minus the distance to the k-th nearest exemplar: float64 array (n,) in [-2, 0]."""
        index = faiss.IndexFlatL2(self.exemplars.shape[1])
        index.add(self.exemplars)
        z = normalize_rows(features)
        _, rows = index.search(z, self.k)
        # faiss's own distances lose digits near 0, more of them in a large batch than in a small.
        kth = self.exemplars[rows[:, -1]]
        return np.asarray(-np.linalg.norm(z.astype(np.float64) - kth, axis=1))

    def tensors(self) -> dict[str, np.ndarray]:
        """``exemplars`` and ``k``."""
        return {"exemplars": self.exemplars, "k": np.array([self.k])}


@dataclass(frozen=True)
class DeepNearestNeighbors:
    """The family of nearest-neighbor scores.

    Parameters
    ----------
    k
        Which neighbor's distance is the score (≥ 1); the farthest's where there are fewer.
    """

    k: int = 5
    name: str = "nearest"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise FitError(f"k must be at least 1, got {self.k}.")

    def fit(
        self, features: np.ndarray, logits: np.ndarray, labels: np.ndarray, n_origins: int
    ) -> NearestScore:
        """Keeps the exemplars.

        Raises
        ------
        FitError
            An origin has no image, or a feature is not finite.
        """
        check_training(features, labels, n_origins)
        return NearestScore(normalize_rows(features), min(self.k, len(features)))

    def restore(self, tensors: Mapping[str, np.ndarray]) -> NearestScore:
        """The score of these exemplars; :class:`FitError` if k is not in 1…n."""
        k = tensors["k"].item()
        if not 1 <= k <= len(tensors["exemplars"]):
            raise FitError(f"the {k}th nearest of {len(tensors['exemplars'])} exemplars.")
        return NearestScore(tensors["exemplars"], k)
