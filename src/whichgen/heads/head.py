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
from whichgen.option_names import name_option


@dataclass(frozen=True)
class HeadOutput:
    """Output of a head for a batch of n images.

    A *view* is a feature block with its own linear probe (:mod:`whichgen.heads.fusion`). Heads for
    one feature block have one view.

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
        """Concatenate the outputs of heads with the same origins and views, without embeddings."""
        return cls(
            logits=np.concatenate([o.logits for o in outputs]),
            probabilities=np.concatenate([o.probabilities for o in outputs]),
            log_probabilities=np.concatenate([o.log_probabilities for o in outputs], axis=1),
            view_weights=np.concatenate([o.view_weights for o in outputs], axis=1),
            compute_embedding=lambda: np.empty((sum(len(o.logits) for o in outputs), 0)),
        )

    def take(self, rows: np.ndarray) -> HeadOutput:
        """Return the output for the images in the given rows, int64 array (m,)."""
        return HeadOutput(
            logits=self.logits[rows],
            probabilities=self.probabilities[rows],
            log_probabilities=self.log_probabilities[:, rows],
            view_weights=self.view_weights[:, rows],
            compute_embedding=lambda: self.embedding[rows],
        )

    @cached_property
    def embedding(self) -> np.ndarray:
        """Vector of each image, which distance-based open-set scores use: float array (n, k)."""
        return self.compute_embedding()


class Head(Protocol):
    """A fitted classifier."""

    def forward(self, features: np.ndarray) -> HeadOutput:
        """Compute the output for n images; ``features`` is a float array (n, d)."""

    def tensors(self) -> dict[str, np.ndarray]:
        """Return, by name, the arrays from which :meth:`HeadMethod.restore` rebuilds the head."""


class HeadMethod(Protocol):
    """A method that fits heads; it has one hyperparameter."""

    @property
    def name(self) -> str:
        """Name in model files and on the command line, for example ``linear``."""

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

        ``n_origins`` and ``value`` are the values that were passed to :meth:`fit`.
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

        This takes less time than calling :meth:`fit` for each value, because the fits share work.
        Values for which the head does not converge are omitted.

        Parameters
        ----------
        features, labels, n_origins
            See :meth:`HeadMethod.fit`.
        queries
            Features of each query set: float arrays (m, d).

        Yields
        ------
        value, probabilities
            A hyperparameter value, and the probabilities of the origins: one float64 array
            (m, n_origins) per query set.

        Raises
        ------
        FitError
            The training data is invalid, or no candidate value is valid.
        """


def check_training_features(features: np.ndarray, labels: np.ndarray, n_origins: int) -> None:
    """Validate training features, float array (n, d), and labels, integer array (n,).

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
        missing = np.flatnonzero(counts == 0)
        raise FitError(
            f"{len(missing)} of {n_origins} origins have no training image (first: label "
            f"{missing[0]}). Add at least one image per origin."
        )
    # Check only extremes: a boolean array of all values takes a gigabyte for a million images.
    invalid = ~np.isfinite([features.min(axis=1), features.max(axis=1)]).all(axis=0)
    if invalid.any():
        raise FitError(
            f"{int(invalid.sum())} of {len(features)} feature rows contain NaN or infinity (first: "
            f"row {int(np.argmax(invalid))}). Remove these rows, or delete the feature store and "
            f"extract the features again with {name_option('--dtype float32')}."
        )
