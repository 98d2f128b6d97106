"""Predictions of a model for a set of test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field

import numpy as np

from whichgen.errors import DataError


@dataclass(frozen=True)
class Predictions:
    """What a head said about n images.

    Parameters
    ----------
    probabilities
        float64 array (n, origins).
    origins
        The true origin of each image: a str array (n,).
    scores
        The open-set score of each image, high is known: float64 array (n,). Left out: the maximum
        probability.
    """

    probabilities: np.ndarray
    origins: np.ndarray
    given_scores: InitVar[np.ndarray | None] = None
    scores: np.ndarray = field(init=False)

    def __post_init__(self, given_scores: np.ndarray | None) -> None:
        scores = self.probabilities.max(axis=1) if given_scores is None else given_scores
        object.__setattr__(self, "scores", scores)

    def __len__(self) -> int:
        return len(self.origins)

    @property
    def predicted(self) -> np.ndarray:
        """The index of the most probable origin: int64 array (n,)."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    def labels(self, known: Sequence[str]) -> np.ndarray:
        """The index of each image's true origin among ``known``: int64 array (n,)."""
        return label_indices(self.origins, known)


def label_indices(origins: np.ndarray, known: Sequence[str]) -> np.ndarray:
    """Origins (n,) as indices in ``known``; :class:`DataError` for one that is not there."""
    index = {origin: i for i, origin in enumerate(known)}
    stray = sorted(set(origins.tolist()) - set(index))
    if stray:
        raise DataError(f"{', '.join(stray)}: not among the known origins {', '.join(known)}.")
    return np.array([index[origin] for origin in origins.tolist()], dtype=np.int64)
