"""What an open-set score is: one small interface for every measure of how known an image looks.

High is known. A *family* knows how to fit on the training images of known origins; a *score* is
fitted and answers. A score of the logits alone has nothing to fit and is both: see
:class:`LogitScore`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from whichgen.errors import FitError
from whichgen.heads import base as heads

#: A spread that is a smaller share of the largest value than this is rounding.
ROUNDING = 1e-12


class OpenSetScore(Protocol):
    """A fitted score."""

    def __call__(self, features: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """How known each image looks.

        Float arrays (n, d) and (n, origins) → float64 array (n,). ``logits`` are a head's,
        unnormalized: its probabilities are their softmax.
        """
        ...

    def tensors(self) -> dict[str, np.ndarray]:
        """All that is needed to rebuild the score bit by bit; no array is 0-dimensional."""
        ...


class ScoreMethod(Protocol):
    """A kind of score."""

    @property
    def name(self) -> str:
        """What tables and the model file call it."""
        ...

    def fit(
        self, features: np.ndarray, logits: np.ndarray, labels: np.ndarray, n_origins: int
    ) -> OpenSetScore:
        """The score fitted on training images of known origins.

        ``features`` and ``logits`` are float arrays (n, d) and (n, n_origins), ``labels`` an
        integer array (n,) in 0…n_origins-1.
        """
        ...

    def restore(self, tensors: Mapping[str, np.ndarray]) -> OpenSetScore:
        """The score whose :meth:`OpenSetScore.tensors` were kept."""
        ...


@dataclass(frozen=True)
class LogitScore:
    """A score that is a ``function`` of the logits, (n, origins) → (n,): family and score in one.

    Training images are looked at only to refuse what every other family refuses.
    """

    name: str
    function: Callable[[np.ndarray], np.ndarray]

    def __call__(self, features: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """The function of the logits: float64 array (n,)."""
        return self.function(logits)

    def tensors(self) -> dict[str, np.ndarray]:
        """Nothing."""
        return {}

    def fit(
        self, features: np.ndarray, logits: np.ndarray, labels: np.ndarray, n_origins: int
    ) -> LogitScore:
        """Itself."""
        heads.check_training(features, labels, n_origins)
        return self

    def restore(self, tensors: Mapping[str, np.ndarray]) -> LogitScore:
        """Itself."""
        return self


def check_training(
    features: np.ndarray, logits: np.ndarray, labels: np.ndarray, n_origins: int
) -> None:
    """As :func:`whichgen.heads.base.check_training`, and every logit must be there and finite."""
    heads.check_training(features, labels, n_origins)
    if logits.shape != (len(labels), n_origins):
        raise FitError(
            f"logits of shape {logits.shape}, but there are {len(labels)} training images of "
            f"{n_origins} origins."
        )
    bad = ~np.isfinite(logits).all(axis=1)
    if bad.any():
        raise FitError(
            f"{int(bad.sum())} of {len(logits)} rows of training logits hold NaN or infinity "
            f"(first: row {int(np.argmax(bad))})."
        )


def class_means(rows: np.ndarray, labels: np.ndarray, n_origins: int) -> np.ndarray:
    """The mean of each origin's rows: arrays (n, d) and (n,) → float64 array (origins, d)."""
    exact = np.asarray(rows, dtype=np.float64)
    return np.stack([exact[labels == origin].mean(axis=0) for origin in range(n_origins)])


def well_classified(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which training images have the largest logit at their label: bool array (n,).

    Of an origin that has no such image, all are taken: a score must know every origin.
    """
    correct = logits.argmax(axis=1) == labels
    return np.asarray(correct | ~np.isin(labels, labels[correct]))
