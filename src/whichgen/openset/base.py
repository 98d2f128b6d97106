"""Base class of open-set scores, which measure how known an image looks: high is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from whichgen.heads.base import HeadOutput

#: A spread below this fraction of the largest value is a rounding error.
ROUNDING = 1e-12


@dataclass(frozen=True)
class OpenSetScore:
    """A fitted score; the base class of all scores.

    Subclasses with fields are frozen dataclasses. Fields are arrays or single numbers and fully
    describe the fitted score. A score without fields has nothing to fit, and only needs
    :meth:`__call__`.
    """

    @classmethod
    def fit(cls, output: HeadOutput, labels: np.ndarray, n_origins: int) -> Self:
        """Fit the score on training images of known origins.

        Called by :func:`whichgen.openset.registry.fit_score`, which validates the arguments.

        Parameters
        ----------
        output
            What the head computed for the n training images.
        labels
            Origin indices: integer array (n,) in 0…n_origins-1; every origin has an image.
        n_origins
            Number of known origins.
        """
        return cls()

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Score the images of a batch: float64 array (n,)."""
        raise NotImplementedError

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the fields as arrays; numbers become arrays of shape (1,)."""
        return {field.name: np.atleast_1d(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def restore(cls, tensors: Mapping[str, np.ndarray]) -> Self:
        """Rebuild a score from its :meth:`tensors`."""
        values = {field.name: tensors[field.name] for field in fields(cls)}
        numbers = [field.name for field in fields(cls) if field.type != "np.ndarray"]
        return cls(**values | {name: tensors[name].item() for name in numbers})


def class_means(rows: np.ndarray, labels: np.ndarray, n_origins: int) -> np.ndarray:
    """Compute the mean row of each origin: (n, d) and (n,) → float64 array (origins, d)."""
    exact = np.asarray(rows, dtype=np.float64)
    return np.stack([exact[labels == origin].mean(axis=0) for origin in range(n_origins)])


def well_classified(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Select the training images whose largest logit is at their label: bool array (n,).

    All images of an origin are selected if none of them is classified correctly, because a score
    needs images of every origin.
    """
    correct = logits.argmax(axis=1) == labels
    return np.asarray(correct | ~np.isin(labels, labels[correct]))
