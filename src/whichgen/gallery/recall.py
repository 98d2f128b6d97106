"""Measure the recall of an approximate search against the exact one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: The recall of the ten nearest images that the search effort is chosen to reach.
TARGET_RECALL = 0.95

#: The number of neighbors that are compared.
N_NEIGHBORS = 10

# Cosines of float32 vectors that differ by less are considered equal.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Recall:
    """Shares of the exact nearest neighbors that a search finds, in [0, 1].

    Parameters
    ----------
    at_1, at_10
        Of the nearest, and of the ten nearest (or of all, in a smaller gallery).
    queries
        The number of query images; none of them was in the gallery.
    """

    at_1: float
    at_10: float
    queries: int

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  # a field of GalleryDescription


def compute_recall(cosines: np.ndarray, exact: np.ndarray) -> Recall:
    """Compute the recall of a search.

    An image as near as the k-th nearest counts as one of them, because ties have no order.

    Parameters
    ----------
    cosines
        The cosines of the images that were found for each query, -inf for none: array (m, k).
    exact
        The cosines of the k nearest images, in descending order: array (m, k).
    """
    at_1 = cosines.max(axis=1) >= exact[:, 0] - _TOLERANCE
    at_10 = cosines >= exact[:, -1:] - _TOLERANCE
    return Recall(float(at_1.mean()), float(at_10.mean()), len(cosines))
