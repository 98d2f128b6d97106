"""Open-set threshold: images whose score is below it are ``unknown``."""

from __future__ import annotations

import numpy as np
from scipy.stats import beta

from whichgen.constants import TPR
from whichgen.errors import FitError

# Relative margin between the threshold and the lowest score above it. Floating-point sums depend on
# the batch; an image's answer must not.
_ROUNDING = 1e-6


def threshold_at_tpr(known_scores: np.ndarray, tpr: float = TPR) -> float:
    """Return the largest threshold with a true-positive rate of at least ``tpr``.

    A known image is accepted if its score is at or above the threshold. The threshold is slightly
    below the lowest accepted score, so that rounding does not reject that image.

    Parameters
    ----------
    known_scores
        Open-set scores of known validation images: float array (n,).
    tpr
        Minimum fraction of known images to accept, in (0, 1].
    """
    if not 0 < tpr <= 1:
        raise FitError(f"the true-positive rate must be above 0 and at most 1, got {tpr}.")
    if len(known_scores) == 0:
        raise FitError("no known validation images to choose the threshold on.")
    descending = np.sort(np.asarray(known_scores, dtype=np.float64))[::-1]
    lowest = float(descending[_count_accepted(len(descending), tpr) - 1])
    return lowest - _ROUNDING * abs(lowest)


def tpr_interval(n: int, tpr: float = TPR, level: float = 0.95) -> tuple[float, float]:
    """Compute an interval for the true-positive rate of a threshold set on n known images.

    If the threshold is the k-th highest of n independent scores, the fraction of the population
    above it has the distribution Beta(k, n + 1 − k), whatever the distribution of the scores
    (Wilks, 1941); ties can only increase it. The bounds are quantiles with equal tails.

    Parameters
    ----------
    n
        Number of known validation images, ≥ 1.
    tpr
        See :func:`threshold_at_tpr`.
    level
        Confidence level, in (0, 1).

    Returns
    -------
    low, high
        In [0, 1].
    """
    k = _count_accepted(n, tpr)
    low, high = beta.ppf([(1 - level) / 2, (1 + level) / 2], k, n + 1 - k)
    return float(low), float(high)


def _count_accepted(n: int, tpr: float) -> int:
    # The tolerance prevents 0.95 · 100 from being rounded up to 96.
    return max(1, int(np.ceil(tpr * n - 1e-9)))


def decide(probabilities: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return the index of the most probable origin, or -1 if the score is below the threshold.

    Arrays (n, origins) and (n,) → int64 array (n,).
    """
    return np.where(scores >= threshold, probabilities.argmax(axis=1), -1).astype(np.int64)
