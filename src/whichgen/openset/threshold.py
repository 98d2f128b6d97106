"""Choose and apply thresholds of scores.

Thresholds are chosen by true-positive rate, false-positive rate or precision. Images with an
open-set score below the threshold are rejected: they are classified as ``unknown`` or get a coarser
prediction (:mod:`whichgen.openset.hierarchy`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whichgen.constants import REAL
from whichgen.defaults import FPR, TPR
from whichgen.errors import FitError

# Relative margin between the threshold and the lowest accepted score. It prevents rounding errors,
# which depend on the batch, from changing the prediction.
_ROUNDING = 1e-6


def choose_threshold(
    scores: np.ndarray,
    predicted_labels: np.ndarray,
    labels: np.ndarray,
    origins: Sequence[str],
    *,
    tpr: float = TPR,
    precision: float | None = None,
    fpr: float = FPR,
) -> float:
    """Choose the open-set threshold on held-out images.

    Without ``precision``, the threshold accepts at least a fraction ``tpr`` of the images of known
    origins. With ``precision``, it is the higher of two thresholds: the lowest one at which
    attributions to a generator have this precision, and the lowest one at which at most a fraction
    ``fpr`` of the real images are attributed to a generator. An image is attributed to a generator
    if its most probable origin is a generator and its score is at or above the threshold. If no
    threshold has the precision, the highest score of the images whose most probable origin is a
    generator is used as the first threshold. If there are no such images, the returned threshold is
    above all scores.

    Parameters
    ----------
    scores
        Open-set scores of n held-out images, n ≥ 1: float array (n,).
    predicted_labels
        Index of the most probable origin: integer array (n,).
    labels
        Index of the true origin, or -1 for an unknown generator: integer array (n,).
    origins
        Names of the known origins.
    tpr
        Minimum true-positive rate, in (0, 1]; used only without ``precision``.
    precision
        Minimum precision of attributions to a generator, in (0, 1]; ``None`` to choose the
        threshold by ``tpr``.
    fpr
        Maximum fraction of real images that are attributed to a generator, in [0, 1); used only
        with ``precision``.

    Raises
    ------
    FitError
        ``precision`` is ``None``, and ``tpr`` is out of range or there are no images of known
        origins.
    """
    if precision is None:
        return choose_threshold_at_tpr(scores[labels >= 0], tpr)
    is_generator = np.array(origins)[predicted_labels] != REAL
    if not is_generator.any():
        return float(np.nextafter(scores.max(), np.inf))
    correct = predicted_labels == labels
    threshold = choose_threshold_at_precision(
        scores[is_generator], correct[is_generator], precision
    )
    is_real = np.append(origins, "")[labels] == REAL
    if (is_real & is_generator).any():
        false_scores = np.where(is_generator, scores, -np.inf)[is_real]
        threshold = max(threshold, choose_threshold_at_fpr(false_scores, fpr))
    return threshold


def choose_threshold_at_tpr(known_scores: np.ndarray, tpr: float = TPR) -> float:
    """Return the highest threshold with a true-positive rate of at least ``tpr``, minus a margin.

    An image is accepted if its score is at or above the threshold. The true-positive rate is the
    fraction of images of known origins that are accepted. The margin is 1e-6 times the absolute
    value of the threshold. It ensures that the image with the lowest accepted score is still
    accepted if its score changes by a rounding error.

    Parameters
    ----------
    known_scores
        Open-set scores of validation images of known origins: float array (n,).
    tpr
        Minimum true-positive rate, in (0, 1].

    Raises
    ------
    FitError
        ``tpr`` is out of range, or there are no scores.
    """
    if not 0 < tpr <= 1:
        raise FitError(f"the true-positive rate must be above 0 and at most 1, got {tpr}.")
    if len(known_scores) == 0:
        raise FitError(
            "the threshold can't be chosen, because there are no validation images of known "
            "origins. Add images of known origins to the validation set."
        )
    descending = np.sort(np.asarray(known_scores, dtype=np.float64))[::-1]
    lowest = float(descending[_count_accepted(len(descending), tpr) - 1])
    return lowest - _ROUNDING * abs(lowest)


def choose_threshold_at_fpr(scores: np.ndarray, fpr: float) -> float:
    """Return the lowest threshold that at most a fraction ``fpr`` of the scores reach.

    Parameters
    ----------
    scores
        Scores of images that should stay below the threshold: float array (n,), n ≥ 1.
    fpr
        Maximum false-positive rate, in [0, 1).
    """
    descending = np.sort(scores)[::-1]
    n_allowed = min(int(fpr * len(descending) + 1e-9), len(descending) - 1)
    return float(np.nextafter(descending[n_allowed], np.inf))


def choose_threshold_at_precision(
    scores: np.ndarray, correct: np.ndarray, precision: float
) -> float:
    """Return the lowest threshold with a precision of at least ``precision``, minus a margin.

    Precision is the fraction of correct answers among the answers whose score reaches the
    threshold (selective classification: El-Yaniv & Wiener, 2010). If no threshold has this
    precision, the threshold is the highest score. The margin is that of
    :func:`choose_threshold_at_tpr`.

    Parameters
    ----------
    scores
        Scores of held-out images: float array (n,).
    correct
        Whether the answer for each image is correct: bool array (n,).
    precision
        Minimum precision, in (0, 1].

    Raises
    ------
    FitError
        There are no scores.
    """
    if len(scores) == 0:
        raise FitError(
            "the threshold can't be chosen, because there are no scores. Pass the score of at "
            "least one held-out image."
        )
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    is_precise = np.cumsum(correct[order]) >= precision * np.arange(1, len(order) + 1) - 1e-9
    # A threshold can't separate equal scores.
    is_precise &= np.append(descending[1:] < descending[:-1], True)
    last_precise = np.flatnonzero(is_precise).max(initial=0)
    return float(descending[last_precise] - _ROUNDING * abs(descending[last_precise]))


def compute_tpr_interval(n: int, tpr: float = TPR, level: float = 0.95) -> tuple[float, float]:
    """Compute a confidence interval for the true-positive rate on new images.

    The threshold is the k-th highest of n independent validation scores, with k = ⌈``tpr`` · n⌉.
    The fraction of all known images whose score reaches it then has the distribution Beta(k,
    n + 1 − k), for any continuous distribution of the scores (Wilks, 1941); ties can only increase
    this fraction. The interval
    leaves the same probability below ``low`` and above ``high``.

    Parameters
    ----------
    n
        Number of validation images on which the threshold was chosen, ≥ 1.
    tpr
        See :func:`choose_threshold_at_tpr`.
    level
        Confidence level, in (0, 1).

    Returns
    -------
    low, high
        Bounds of the interval, in [0, 1].
    """
    from scipy.special import betaincinv  # takes a quarter of a second to import

    k = _count_accepted(n, tpr)
    low, high = betaincinv(k, n + 1 - k, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _count_accepted(n: int, tpr: float) -> int:
    # Without the tolerance, rounding would turn 0.55 · 100 into 56.
    return max(1, int(np.ceil(tpr * n - 1e-9)))


def decide(probabilities: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return the index of each image's most probable origin, or -1 if the image is rejected.

    An image is rejected if its score is below ``threshold`` or NaN.

    Parameters
    ----------
    probabilities
        Probabilities of the origins: float array (n, origins).
    scores
        Open-set scores: float array (n,).
    threshold
        The open-set threshold.

    Returns
    -------
    int64 array (n,)
        Origin indices, or -1.
    """
    return np.where(scores >= threshold, probabilities.argmax(axis=1), -1).astype(np.int64)
