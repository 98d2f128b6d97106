"""Interfaces of heads: classifiers that read one or several feature blocks of an encoder.

A *head method* (:class:`HeadMethod`) fits heads; methods of one feature block can also try many
values of their hyperparameter (:class:`SweepMethod`). A fitted *head* (:class:`Head`) computes
everything about a batch of images in one pass (:class:`HeadOutput`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.special import log_softmax, softmax

from whichgen.errors import FitError


@dataclass(frozen=True)
class HeadOutput:
    """Everything one pass of a head computes for a batch of n images.

    A *view* is a part of the features with a probe of its own (:mod:`whichgen.heads.fusion`); heads
    that fuse nothing have one view.

    Parameters
    ----------
    logits
        float64 array (n, origins).
    probabilities
        float64 array (n, origins) in [0, 1]; rows sum to 1.
    log_probabilities
        Log-probabilities predicted by each view alone: float64 array (views, n, origins), ≤ 0.
    view_weights
        Weight of each view for each image: float64 array (views, n); columns sum to 1.
    compute_embedding
        Returns :attr:`embedding`; called on first use, because few callers need it.
    """

    logits: np.ndarray
    probabilities: np.ndarray
    log_probabilities: np.ndarray
    view_weights: np.ndarray
    compute_embedding: Callable[[], np.ndarray]

    @classmethod
    def from_logits(cls, logits: np.ndarray, embedding: np.ndarray) -> HeadOutput:
        """Build the output of a head with one view: softmax and log-softmax of its logits."""
        return cls(
            logits=logits,
            probabilities=np.asarray(softmax(logits, axis=1)),
            log_probabilities=np.asarray(log_softmax(logits, axis=1)[None]),
            view_weights=np.ones((1, len(logits))),
            compute_embedding=lambda: embedding,
        )

    @cached_property
    def embedding(self) -> np.ndarray:
        """Vectors in which the head compares images: float array (n, k)."""
        return self.compute_embedding()


class Head(Protocol):
    """A fitted classifier."""

    def forward(self, features: np.ndarray) -> HeadOutput:
        """Compute logits, probabilities and embedding of features, float array (n, d)."""

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays from which :meth:`HeadMethod.restore` rebuilds the head exactly."""


class HeadMethod(Protocol):
    """A kind of head, with one hyperparameter."""

    @property
    def name(self) -> str:
        """Name in model files and on the command line, e.g. ``linear``."""

    @property
    def parameter(self) -> str:
        """Name of the hyperparameter, e.g. ``C``."""

    def fit(self, features: np.ndarray, labels: np.ndarray, n_origins: int, value: float) -> Head:
        """Fit a head.

        Parameters
        ----------
        features
            Training features: float array (n, d).
        labels
            Origin indices: integer array (n,) in 0…n_origins-1.
        n_origins
            Number of origins; each needs at least one image.
        value
            The hyperparameter.
        """

    def restore(self, tensors: Mapping[str, np.ndarray], n_origins: int, value: float) -> Head:
        """Rebuild a head from its :meth:`Head.tensors`."""


class SweepMethod(HeadMethod, Protocol):
    """A head method that tries many values of its hyperparameter at little cost."""

    def candidate_values(self, n_train: int) -> tuple[float, ...]:
        """Return the hyperparameter values that ``n_train`` training images allow, ascending."""

    def sweep(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        n_origins: int,
        queries: Sequence[np.ndarray],
    ) -> Iterator[tuple[float, list[np.ndarray]]]:
        """Yield each candidate value with the probabilities (m, n_origins) of each query.

        Separate from :meth:`HeadMethod.fit` because all values cost little more than one fit.
        Parameters as for ``fit``; ``queries`` are float arrays (m, d).
        """


def check_training_features(features: np.ndarray, labels: np.ndarray, n_origins: int) -> None:
    """Raise :class:`FitError` unless every origin has an image and every feature is finite."""
    if len(features) != len(labels):
        raise FitError(f"{len(features)} feature rows but {len(labels)} labels.")
    counts = np.bincount(labels, minlength=n_origins)
    if len(counts) > n_origins or (counts == 0).any():
        raise FitError(
            f"images per origin: {counts.tolist()}. Each of the {n_origins} origins needs at "
            "least one training image."
        )
    # By their extremes: a boolean array of all values would take a gigabyte for a million images.
    invalid = ~np.isfinite([features.min(axis=1), features.max(axis=1)]).all(axis=0)
    if invalid.any():
        raise FitError(
            f"{int(invalid.sum())} of {len(features)} feature rows contain NaN or infinity (first: "
            f"row {int(np.argmax(invalid))}). Delete the feature store and extract again with "
            "--dtype float32."
        )
