"""Head outputs made from features and logits, for tests of scores."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from whichgen.heads.head import HeadOutput
from whichgen.openset.score import OpenSetScore

S = TypeVar("S", bound=OpenSetScore)


def output(features: np.ndarray, logits: np.ndarray) -> HeadOutput:
    return HeadOutput.from_logits(logits, features)


def logits_only(logits: np.ndarray) -> HeadOutput:
    """Return an output without features, for scores that use only the logits."""
    return HeadOutput.from_logits(logits, np.zeros((len(logits), 1)))


def features_only(features: np.ndarray, n_origins: int = 1) -> HeadOutput:
    """Return an output with logits of zero, for scores that use only the features."""
    return HeadOutput.from_logits(np.zeros((len(features), n_origins)), features)


def fit(
    score: type[S], features: np.ndarray, labels: np.ndarray, n_origins: int, **options: int
) -> S:
    return score.fit(features_only(features, n_origins), labels, n_origins, **options)
