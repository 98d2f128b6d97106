"""Deep nearest neighbors (Sun et al., 2022): distance to the k-th nearest training image.

With z = x/‖x‖ the normalized embedding of an image, and z_(k) that of the k-th nearest training
image::

    s(x) = −‖z − z_(k)‖
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from whichgen.errors import FitError
from whichgen.heads.head import HeadOutput
from whichgen.heads.knn import normalize_rows
from whichgen.openset.score import OpenSetScore


@dataclass(frozen=True)
class NearestNeighbors(OpenSetScore):
    """Nearest-neighbor score: the negative distance to the k-th nearest training image.

    Parameters
    ----------
    exemplars
        Training embeddings scaled to unit length: float32 array (n, d).
    k
        Rank of the neighbor to which the distance is computed, from 1 (nearest) to n.

    Raises
    ------
    FitError
        ``k`` is not from 1 to n.
    """

    exemplars: np.ndarray
    k: int

    def __post_init__(self) -> None:
        if not 1 <= self.k <= len(self.exemplars):
            raise FitError(
                f"k must be from 1 to {len(self.exemplars)} (the number of exemplars), "
                f"got {self.k}."
            )

    @classmethod
    def fit(cls, output: HeadOutput, labels: np.ndarray, n_origins: int, k: int = 5) -> Self:
        """Store the normalized training embeddings as exemplars; see :meth:`OpenSetScore.fit`.

        If ``k`` exceeds the number of exemplars, this number is used instead.

        Raises
        ------
        FitError
            ``k`` is below 1.
        """
        return cls(normalize_rows(output.embedding), min(k, len(labels)))

    @cached_property
    def index(self) -> Any:
        """The exact faiss L2 index of the exemplars, built on first use."""
        import faiss  # takes a third of a second to import

        index: Any = faiss.IndexFlatL2(self.exemplars.shape[1])
        index.add(self.exemplars)
        return index

    def __getstate__(self) -> dict[str, Any]:
        # Not pickled: each worker process builds its own index.
        return {name: value for name, value in vars(self).items() if name != "index"}

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute the negative distance to the k-th nearest exemplar: float64 array (n,), ≤ 0."""
        z = normalize_rows(output.embedding)
        _, rows = self.index.search(z, self.k)
        # Compute the distance again, because faiss's distances near 0 are inexact.
        kth = self.exemplars[rows[:, -1]]
        return np.asarray(-np.linalg.norm(z.astype(np.float64) - kth, axis=1))
