"""How much of the exact answer an approximate search gives."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np

#: A recall of the ten nearest below that is warned of, and an effort is chosen to reach it.
ENOUGH = 0.95

#: How many nearest are compared.
NEAREST = 10

# Cosines of float32 vectors that lie nearer than that are a tie.
_TIE = 1e-6


@dataclass(frozen=True)
class Recall:
    """Shares of the exact nearest that were found, in [0, 1], and of how many queries.

    Parameters
    ----------
    at_1, at_10
        Of the nearest, and of the ten nearest (or of all, in a gallery of fewer).
    queries
        Images asked about, none of them in the gallery at that time.
    """

    at_1: float
    at_10: float
    queries: int

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  # a gallery's description holds it


class ExactSearch:
    """The nearest of some queries among vectors that come in batches and are not kept.

    ``queries``: unit vectors, float32 (m, d).
    """

    def __init__(self, queries: np.ndarray, k: int = NEAREST) -> None:
        self.queries = queries
        self._k = k
        self._heap = faiss.ResultHeap(len(queries), k, keep_max=True)
        self._rows = 0

    def add(self, points: np.ndarray) -> None:
        """The next unit vectors, float32 (n, d)."""
        k = min(self._k, len(points))
        if not k or not len(self.queries):
            return
        cosines, rows = faiss.knn(self.queries, points, k, metric=faiss.METRIC_INNER_PRODUCT)
        self._heap.add_result(cosines, rows)  # whose rows they are is not asked
        self._rows += len(points)

    def nearest(self) -> np.ndarray:
        """Cosines of the at most k nearest, the most alike first: float32 array (m, k)."""
        self._heap.finalize()
        return np.asarray(self._heap.D[:, : min(self._k, self._rows)])


def compute_recall(found: np.ndarray, exact: np.ndarray) -> Recall:
    """The recall of a search.

    Parameters
    ----------
    found
        The *true* cosines of what was found for each query, -inf where nothing was: array (m, k).
    exact
        The cosines of the k nearest, the most alike first: array (m, k).

    An image as near as the k-th nearest counts as one of them, as equals have no order.
    """
    best = found.max(axis=1) >= exact[:, 0] - _TIE
    right = found >= exact[:, -1:] - _TIE
    return Recall(float(best.mean()), float(right.mean()), len(found))
