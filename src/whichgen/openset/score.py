"""Base class of open-set scores, and functions for fitting them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from typing import Any, Self

import numpy as np

from whichgen.heads.head import HeadOutput

#: Differences below this fraction of the largest absolute value count as rounding errors.
ROUNDING = 1e-12


@dataclass(frozen=True)
class OpenSetScore:
    """Base class of fitted open-set scores. A high score indicates an image of a known origin.

    Subclasses with fields are frozen dataclasses. The fields fully describe the fitted score; each
    is annotated as ``np.ndarray``, ``int`` or ``float``. A subclass without fields needs no fitting
    and implements only :meth:`__call__`.
    """

    @classmethod
    def fit(cls, output: HeadOutput, labels: np.ndarray, n_origins: int) -> Self:
        """Fit the score on training images of known origins.

        Called by :func:`whichgen.openset.score_registry.fit_score`, which validates the arguments.

        Parameters
        ----------
        output
            Output of the head for the n training images.
        labels
            Origin index of each training image: integer array (n,), from 0 to n_origins - 1. Every
            origin needs at least one training image.
        n_origins
            Number of known origins.
        """
        return cls()

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute the score of each image in a batch: float64 array (n,)."""
        raise NotImplementedError

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the fields as arrays, by their names in a saved model; numbers have shape (1,).

        If the metadata of a field contains a ``key``, this is its name in a saved model.
        """
        return {_get_key(f): np.atleast_1d(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def restore(cls, tensors: Mapping[str, np.ndarray]) -> Self:
        """Rebuild a score from the arrays that :meth:`tensors` returns.

        Raises
        ------
        KeyError
            An array is missing.
        ValueError
            The array of a number does not have exactly one element.
        FitError
            ``k`` of :class:`~whichgen.openset.nearest_neighbors.NearestNeighbors` is out of range.
        """
        arrays = {f.name: tensors[_get_key(f)] for f in fields(cls)}
        numbers = [f.name for f in fields(cls) if f.type not in ("np.ndarray", np.ndarray)]
        return cls(**arrays | {name: arrays[name].item() for name in numbers})


def _get_key(field: Field[Any]) -> str:
    return str(field.metadata.get("key", field.name))


def compute_class_means(rows: np.ndarray, labels: np.ndarray, n_origins: int) -> np.ndarray:
    """Compute the mean row of each origin: float64 array (origins, d).

    ``rows`` is a float array (n, d), and ``labels`` contains the origin index of each row: integer
    array (n,). Every origin needs at least one row.
    """
    exact = np.asarray(rows, dtype=np.float64)
    return np.stack([exact[labels == origin].mean(axis=0) for origin in range(n_origins)])


def select_correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return a mask of the correctly classified training images: bool array (n,).

    If no image of an origin is classified correctly, the mask includes all images of this origin,
    because a score needs images of every origin. ``logits`` is a float array (n, origins), and
    ``labels`` contains origin indices: integer array (n,).
    """
    correct = logits.argmax(axis=1) == labels
    return np.asarray(correct | ~np.isin(labels, labels[correct]))
