"""What a head is: one small interface for every classifier on a block's features.

A *family* holds the grid of its one hyperparameter and knows how to fit; a *head* is fitted and
answers. ``sweep`` exists beside ``fit`` because a family can often serve its whole grid for little
more than the price of one fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from whichgen.errors import FitError

# Rows that are looked through at a time.
_ROWS = 65_536


class Head(Protocol):
    """A fitted classifier."""

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Features, float array (n, d) → class probabilities, float64 array (n, origins)."""
        ...

    def logits(self, features: np.ndarray) -> np.ndarray:
        """What the probabilities are the softmax of: finite float64 array (n, origins)."""
        ...

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """What each of the head's views says: finite float64 array (views, n, origins), at most 0.

        The exponentials of a row sum to 1. A head that fuses nothing has one view.
        """
        ...

    def shares(self, features: np.ndarray) -> np.ndarray:
        """How much each view weighs: float64 array (views, n), whose columns sum to 1."""
        ...

    def embed(self, features: np.ndarray) -> np.ndarray:
        """The features as the head compares them: float array (n, d), for distances."""
        ...

    def tensors(self) -> dict[str, np.ndarray]:
        """All that is needed to rebuild the head bit by bit."""
        ...


class HeadMethod(Protocol):
    """A kind of head with the grid of its hyperparameter."""

    @property
    def name(self) -> str:
        """What the model file calls it: ``linear`` or ``knn``."""
        ...

    @property
    def parameter(self) -> str:
        """The hyperparameter's name: ``C`` or ``k``."""
        ...

    def grid(self, n_train: int) -> tuple[float, ...]:
        """The values to try, ascending; those that ``n_train`` images can't serve are left out."""
        ...

    def sweep(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        n_origins: int,
        queries: Sequence[np.ndarray],
    ) -> Iterator[tuple[float, list[np.ndarray]]]:
        """For each grid value: the value, and each query's probabilities (m, n_origins)."""
        ...

    def fit(self, features: np.ndarray, labels: np.ndarray, n_origins: int, value: float) -> Head:
        """The head for one value of the hyperparameter.

        ``features`` is a float array (n, d), ``labels`` an integer array (n,) in 0…n_origins-1.
        """
        ...

    def restore(self, tensors: Mapping[str, np.ndarray], n_origins: int, value: float) -> Head:
        """The head whose :meth:`Head.tensors` were kept."""
        ...


def check_training(features: np.ndarray, labels: np.ndarray, n_origins: int) -> None:
    """Raises :class:`FitError` unless every origin has an image and every feature is finite."""
    if len(features) != len(labels):
        raise FitError(f"{len(features)} feature rows but {len(labels)} labels.")
    counts = np.bincount(labels, minlength=n_origins)
    if len(counts) > n_origins or (counts == 0).any():
        raise FitError(
            f"images an origin: {counts.tolist()}. Each of the {n_origins} origins needs at "
            "least one training image."
        )
    # Piece by piece: a table of a million images would be a gigabyte of answers.
    pieces = (features[i : i + _ROWS] for i in range(0, len(features), _ROWS))
    bad = np.concatenate([~np.isfinite(piece).all(axis=1) for piece in pieces])
    if bad.any():
        raise FitError(
            f"{int(bad.sum())} of {len(features)} feature rows hold NaN or infinity (first: row "
            f"{int(np.argmax(bad))}). Delete the feature store and extract with --dtype float32."
        )
