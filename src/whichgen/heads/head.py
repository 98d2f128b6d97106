"""Interfaces of heads, the classifiers on one or several feature blocks of an encoder.

A *feature block* contains the features of one encoder block. A *head method* (:class:`HeadMethod`)
fits heads; a method for one feature block can also try many values of its hyperparameter
(:class:`SweepMethod`). A fitted *head* (:class:`Head`) returns the logits, probabilities and
embeddings of a batch of images (:class:`HeadOutput`). The classes are *origins*: generators and
``real``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from whichgen.errors import FitError
from whichgen.heads.softmax import log_softmax, softmax


@dataclass(frozen=True)
class HeadOutput:
    """Output of a head for a batch of n images.

    A *view* is a feature block with its own linear probe (:mod:`whichgen.heads.fusion`). The output
    of a head for one feature block has one view.

    Parameters
    ----------
    logits
        Logit of each origin: float64 array (n, origins).
    probabilities
        Probability of each origin: float64 array (n, origins) in [0, 1]; rows sum to 1.
    log_probabilities
        Log-probability of each origin, predicted by each view: float64 array (views, n, origins),
        ≤ 0.
    view_weights
        Weight of each view for each image: float64 array (views, n); columns sum to 1.
    compute_embedding
        Function without parameters that returns :attr:`embedding`. It is called when the embedding
        is first used, because few callers need it.
    """

    logits: np.ndarray
    probabilities: np.ndarray
    log_probabilities: np.ndarray
    view_weights: np.ndarray
    compute_embedding: Callable[[], np.ndarray]

    @classmethod
    def from_logits(cls, logits: np.ndarray, embedding: np.ndarray) -> HeadOutput:
        """Build the output of a head with one view.

        ``logits`` is a float64 array (n, origins) and ``embedding`` a float array (n, k).
        """
        return cls(
            logits=logits,
            probabilities=np.asarray(softmax(logits, axis=1)),
            log_probabilities=np.asarray(log_softmax(logits, axis=1)[None]),
            view_weights=np.ones((1, len(logits))),
            compute_embedding=lambda: embedding,
        )

    @classmethod
    def concatenate(cls, outputs: Sequence[HeadOutput]) -> HeadOutput:
        """Concatenate outputs of heads with the same origins and views along the image axis.

        Embeddings of different heads can't be compared, so the embedding of the result has shape
        (n, 0).
        """
        return cls(
            logits=np.concatenate([output.logits for output in outputs]),
            probabilities=np.concatenate([output.probabilities for output in outputs]),
            log_probabilities=np.concatenate(
                [output.log_probabilities for output in outputs], axis=1
            ),
            view_weights=np.concatenate([output.view_weights for output in outputs], axis=1),
            compute_embedding=lambda: np.empty((sum(len(output.logits) for output in outputs), 0)),
        )

    def take(self, rows: np.ndarray) -> HeadOutput:
        """Select the output for m images by their indices, integer array (m,)."""
        return HeadOutput(
            logits=self.logits[rows],
            probabilities=self.probabilities[rows],
            log_probabilities=self.log_probabilities[:, rows],
            view_weights=self.view_weights[:, rows],
            compute_embedding=lambda: self.embedding[rows],
        )

    @cached_property
    def embedding(self) -> np.ndarray:
        """Vector of each image, for open-set scores and similarity search: float array (n, k)."""
        return self.compute_embedding()


class Head(Protocol):
    """A fitted classifier."""

    def forward(self, features: np.ndarray) -> HeadOutput:
        """Compute the output for n images; ``features`` is a float array (n, d).

        Raises
        ------
        AssertionError, FitError, ValueError
            The head was fitted on another number of features; the type depends on the head.
        """

    def tensors(self) -> dict[str, np.ndarray]:
        """Return, by name, the arrays from which :meth:`HeadMethod.restore` rebuilds the head."""


class HeadMethod(Protocol):
    """A method that fits heads with one hyperparameter."""

    @property
    def name(self) -> str:
        """Name of the method in model files, for example ``linear``."""

    @property
    def parameter(self) -> str:
        """Name of the hyperparameter, for example ``C``."""

    def fit(self, features: np.ndarray, labels: np.ndarray, n_origins: int, value: float) -> Head:
        """Fit a head.

        Parameters
        ----------
        features
            Training features: float array (n, d).
        labels
            Origin index of each training image: integer array (n,), from 0 to n_origins - 1.
        n_origins
            Number of origins; each needs at least one training image.
        value
            Value of the hyperparameter.

        Raises
        ------
        FitError
            The training data or the value is invalid, or the head did not converge
            (:class:`~whichgen.errors.ConvergenceError`).
        """

    def restore(self, tensors: Mapping[str, np.ndarray], n_origins: int, value: float) -> Head:
        """Rebuild a head from the arrays that :meth:`Head.tensors` returns.

        Parameters
        ----------
        tensors
            The arrays by name; other names are ignored.
        n_origins
            Number of origins of the head.
        value
            Value of the hyperparameter with which the head was fitted.

        Raises
        ------
        KeyError
            An array is missing.
        FitError, IndexError, TypeError, ValueError
            An array has the wrong shape, dtype or content, or the value is invalid.
        """


class SweepMethod(HeadMethod, Protocol):
    """A head method that can try many values of its hyperparameter in one call."""

    def list_candidate_values(self, n_train: int) -> tuple[float, ...]:
        """Return the valid hyperparameter values for ``n_train`` training images, ascending.

        Raises
        ------
        FitError
            No value is valid.
        """

    def sweep(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        n_origins: int,
        queries: Sequence[np.ndarray],
    ) -> Iterator[tuple[float, list[np.ndarray]]]:
        """Fit a head for each candidate value, and classify the images of each query set.

        This can take less time than calling :meth:`fit` for each value, because the fits can share
        work. Values for which the head does not converge are omitted.

        Parameters
        ----------
        features, labels, n_origins
            See :meth:`HeadMethod.fit`.
        queries
            Features of each query set: float arrays (m, d).

        Yields
        ------
        value, probabilities
            A hyperparameter value, and the probabilities of the origins: a list with one float64
            array (m, n_origins) per query set.

        Raises
        ------
        FitError
            The training data is invalid, or no candidate value is valid.
        """


def check_training_features(features: np.ndarray, labels: np.ndarray, n_origins: int) -> None:
    """Validate training features, float array (n, d), and labels, integer array (n,), ≥ 0.

    Raises
    ------
    FitError
        The numbers of feature rows and labels differ, a label is not below ``n_origins``, an origin
        has no image, or a feature is not finite.
    """
    if len(features) != len(labels):
        raise FitError(
            f"{len(features)} feature rows do not match {len(labels)} labels. Pass one label per "
            "row."
        )
    counts = np.bincount(labels, minlength=n_origins)
    if len(counts) > n_origins:
        raise FitError(f"label {len(counts) - 1} is too large. Use labels below {n_origins}.")
    if (counts == 0).any():
        missing_labels = np.flatnonzero(counts == 0)
        raise FitError(
            f"{len(missing_labels)} of {n_origins} origins have no training image (first: label "
            f"{missing_labels[0]}). Add at least one image per origin."
        )
    # Check only extremes: a boolean array of all values takes a gigabyte for a million images.
    is_invalid = ~np.isfinite([features.min(axis=1), features.max(axis=1)]).all(axis=0)
    if is_invalid.any():
        raise FitError(
            f"{int(is_invalid.sum())} of {len(features)} feature rows contain NaN or infinity "
            f"(first: row {int(np.argmax(is_invalid))}). Remove these rows; if they are from a "
            "feature store, delete the store and extract the features again."
        )
