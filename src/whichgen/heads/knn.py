"""k-NN on L2-normalized features, votes weighted by cosine similarity.

With N_k(x) the k training images most similar to x, the probability of origin j is::

    p_j(x) = Σ_{i ∈ N_k(x), y_i = j} s(x, x_i)  /  Σ_{i ∈ N_k(x)} s(x, x_i),    s = max(cos, 0)

A cosine below zero would be a negative vote, so it counts as none; where no neighbor has a
positive cosine, all origins are equally probable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from whichgen.errors import FitError
from whichgen.heads.base import check_training

#: The paper's range of k.
PAPER_K = tuple(range(1, 21))

# Its log is finite, and beside a whole vote it adds nothing.
_NO_VOTE = 1e-300


def build_cosine_index(points: np.ndarray) -> Any:
    """An exact faiss index of unit vectors, float32 (n, d), by inner product.

    On all GPUs where faiss was built for them.
    """
    index: Any = faiss.IndexFlatIP(points.shape[1])
    if faiss.get_num_gpus():
        index = faiss.index_cpu_to_all_gpus(index)
    index.add(points)
    return index


def normalize_rows(features: np.ndarray) -> np.ndarray:
    """Rows scaled to unit length, float32; a row of zeros stays one."""
    rows = np.asarray(features, dtype=np.float32)
    # Squares summed in float64: those of float32 overflow above 1e19 and vanish below 1e-23.
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))[:, None]
    return np.ascontiguousarray(rows / np.where(norms > 0, norms, 1), dtype=np.float32)


def vote(similarities: np.ndarray, labels: np.ndarray, n_origins: int) -> np.ndarray:
    """The probabilities for every k at once, by cumulative sums.

    Parameters
    ----------
    similarities, labels
        Cosines and origins of each query's neighbors, most similar first: arrays (m, k_max).

    Returns
    -------
    float64 array (k_max, m, n_origins)
        Entry ``[k - 1]`` holds the probabilities by the k nearest.
    """
    weights = np.clip(similarities.astype(np.float64), 0, None)
    one_hot = labels[..., None] == np.arange(n_origins)
    sums = np.cumsum(weights[..., None] * one_hot, axis=1).transpose(1, 0, 2)
    totals = sums.sum(axis=2, keepdims=True)
    return np.asarray(np.where(totals > 0, sums / np.where(totals > 0, totals, 1), 1 / n_origins))


@dataclass(frozen=True)
class KnnHead:
    """``exemplars`` float32 (n, d) of unit length, their ``labels`` int64 (n,), and ``k``."""

    exemplars: np.ndarray
    labels: np.ndarray
    n_origins: int
    k: int

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Normalized votes of the k nearest: float64 array (n, origins)."""
        similarities, labels = self.neighbors(features)
        return np.asarray(vote(similarities, labels, self.n_origins)[-1])

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Log votes, of no vote log 1e-300: float64 array (n, origins)."""
        return np.asarray(np.log(np.maximum(self.predict_proba(features), _NO_VOTE)))

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """The logits, as one view: float64 array (1, n, origins)."""
        return self.logits(features)[None]

    def shares(self, features: np.ndarray) -> np.ndarray:
        """Of the one view: float64 array (1, n)."""
        return np.ones((1, len(features)))

    def embed(self, features: np.ndarray) -> np.ndarray:
        """The features scaled to unit length: float32 array (n, d)."""
        return normalize_rows(features)

    def neighbors(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cosines and origins of the k nearest exemplars, most similar first: arrays (n, k)."""
        similarities, rows = build_cosine_index(self.exemplars).search(
            normalize_rows(features), self.k
        )
        return similarities, self.labels[rows]

    def tensors(self) -> dict[str, np.ndarray]:
        """``exemplars`` and ``labels``."""
        return {"exemplars": self.exemplars, "labels": self.labels}


@dataclass(frozen=True)
class KnnMethod:
    """The family of k-NN heads over a grid of k; one search serves them all.

    Parameters
    ----------
    values
        The values of k (≥ 1); the paper's 1…20 by default. Those above the number of training
        images are left out.
    """

    values: tuple[int, ...] = PAPER_K
    name: str = "knn"
    parameter: str = "k"

    def __post_init__(self) -> None:
        if not self.values or min(self.values) < 1:
            raise FitError(f"k must be at least 1, got {list(self.values)}.")

    def grid(self, n_train: int) -> tuple[float, ...]:
        """The values of k that ``n_train`` images allow, ascending."""
        possible = tuple(float(k) for k in sorted(self.values) if k <= n_train)
        if not possible:
            raise FitError(
                f"k = {min(self.values)} neighbors asked for, but there are only {n_train} "
                "training images. Use a smaller --k-min or more images."
            )
        return possible

    def sweep(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        n_origins: int,
        queries: Sequence[np.ndarray],
    ) -> Iterator[tuple[float, list[np.ndarray]]]:
        """See :meth:`whichgen.heads.base.HeadMethod.sweep`."""
        grid = self.grid(len(features))
        head = self.fit(features, labels, n_origins, grid[-1])
        votes = [vote(*head.neighbors(query), n_origins) for query in queries]
        for value in grid:
            yield value, [by_k[int(value) - 1] for by_k in votes]

    def fit(
        self, features: np.ndarray, labels: np.ndarray, n_origins: int, value: float
    ) -> KnnHead:
        """Keeps the exemplars.

        Raises
        ------
        FitError
            An origin has no image, a feature is not finite, or k is over the number of images.
        """
        check_training(features, labels, n_origins)
        if not 1 <= value <= len(features):
            raise FitError(f"k = {value:g} is not between 1 and {len(features)}, the images.")
        return KnnHead(normalize_rows(features), labels.astype(np.int64), n_origins, int(value))

    def restore(self, tensors: Mapping[str, np.ndarray], n_origins: int, value: float) -> KnnHead:
        """The head of these exemplars.

        Raises
        ------
        FitError
            There is not a label for each, or k is over their number.
        """
        n = len(tensors["exemplars"])
        if tensors["labels"].shape != (n,) or not 1 <= value <= n:
            raise FitError(f"{n} exemplars, {len(tensors['labels'])} labels and k = {value:g}.")
        return KnnHead(tensors["exemplars"], tensors["labels"], n_origins, int(value))
