"""The threshold below which an image is ``unknown``."""

from __future__ import annotations

import numpy as np
from scipy.stats import beta

from whichgen.errors import FitError

#: By so much of itself the threshold is under the lowest score that it keeps. Asked beside other
#: images, an image's sums are rounded in another order; its answer must not hang on that.
_ROUNDING = 1e-6


def threshold_at_tpr(known_scores: np.ndarray, tpr: float = 0.95) -> float:
    """The largest threshold that keeps at least ``tpr`` of the known images (score ≥ threshold).

    It is a hair under the lowest score kept, so that this image is kept however it is rounded.

    Parameters
    ----------
    known_scores
        Open-set scores of known validation images: float array (n,).
    tpr
        Share of known images to keep, in (0, 1].
    """
    if not 0 < tpr <= 1:
        raise FitError(f"the true-positive rate must be over 0 and at most 1, got {tpr}.")
    if len(known_scores) == 0:
        raise FitError("no known validation image to choose the threshold on.")
    descending = np.sort(np.asarray(known_scores, dtype=np.float64))[::-1]
    lowest = float(descending[_kept(len(descending), tpr) - 1])
    return lowest - _ROUNDING * abs(lowest)


def tpr_interval(n: int, tpr: float = 0.95, level: float = 0.95) -> tuple[float, float]:
    """What share of *all* known images a threshold keeps that was set on n of them.

    With the k-th highest of n independent scores as threshold, the share kept of the population
    that they come from is distributed as Beta(k, n + 1 − k) whatever the scores are (Wilks, 1941);
    ties only add to it. These are that distribution's quantiles, of equal tails.

    Parameters
    ----------
    n
        Known validation images, at least 1.
    tpr
        As of :func:`threshold_at_tpr`.
    level
        Probability that the true share lies between the bounds, in (0, 1).

    Returns
    -------
    low, high
        In [0, 1].
    """
    k = _kept(n, tpr)
    low, high = beta.ppf([(1 - level) / 2, (1 + level) / 2], k, n + 1 - k)
    return float(low), float(high)


def _kept(n: int, tpr: float) -> int:
    # The tolerance keeps e.g. 0.95 · 100 from becoming 96 by rounding.
    return max(1, int(np.ceil(tpr * n - 1e-9)))


def decide(probabilities: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """The index of the most probable origin, or -1 where the score is below the threshold.

    Arrays (n, origins) and (n,) → int64 array (n,).
    """
    return np.where(scores >= threshold, probabilities.argmax(axis=1), -1).astype(np.int64)
