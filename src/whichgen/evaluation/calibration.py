"""Are probabilities what they say? Temperature scaling, reliability, and how sure a threshold is.

Temperature scaling (Guo, Pleiss, Sun & Weinberger, 2017, section 4.2) divides logits z by one T,
chosen on validation images of known origins::

    p(x) = softmax(z(x) / T),    T = argmin −1/n Σᵢ log p_yᵢ(xᵢ)

It changes no predicted origin. It holds for images like those it was chosen on: the probability of
an image of an unknown generator is not calibrated by it, nor by anything else here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import beta

from whichgen.errors import FitError
from whichgen.openset.threshold import threshold_at_tpr

#: Between these temperatures the best one is looked for.
TEMPERATURES = (1e-3, 1e3)


@dataclass(frozen=True)
class CalibrationMetrics:
    """How often images of one confidence get their own origin.

    Confidence is the largest probability. Bins are of equal width; bin b holds confidences over
    ``edges[b]`` and up to ``edges[b + 1]`` (the first one 0, too).

    Parameters
    ----------
    edges
        Bounds of the bins, from 0 to 1: one more than there are bins.
    confidence, accuracy, counts
        Mean confidence, share of right answers and images of each bin; NaN in an empty one.
    ece, mce
        Expected and maximum calibration error (Guo et al., section 2): mean over images, and
        maximum over bins, of \\|accuracy − confidence\\|. Both in [0, 1].
    nll
        Mean negative log-likelihood, in nats; probabilities count as 1e-300 at least.
    brier
        Mean squared distance of probabilities from the truth over all origins, in [0, 2].
    """

    edges: tuple[float, ...]
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    counts: tuple[int, ...]
    ece: float
    mce: float
    nll: float
    brier: float


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of least negative log-likelihood, within :data:`TEMPERATURES`.

    Where every image is right, likelihood grows for ever as T falls, and would make every
    probability 1. There one image more, of no origin in particular, is added to the n: answers can
    then be as sure as n images without an error allow, and no surer.

    Parameters
    ----------
    logits
        float array (n, origins), n at least 1.
    labels
        Indices of true origins: int array (n,).

    Raises
    ------
    FitError
        No image, or logits that are not finite.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if len(logits) == 0:
        raise FitError("no known validation image to choose the temperature on.")
    if not np.isfinite(logits).all():
        raise FitError("the temperature can't be chosen: some logits are not finite.")
    own = logits[np.arange(len(labels)), labels]
    doubt = 1 / (len(labels) + 1) if (own >= logits.max(axis=1)).all() else 0.0

    def loss(log_t: float) -> float:
        log_p = log_softmax(logits / np.exp(log_t), axis=1)
        likelihood = log_p[np.arange(len(labels)), labels].mean()
        return -float((1 - doubt) * likelihood + doubt * log_p.mean())

    # The loss is convex in 1/T, so it has one minimum in log T, too.
    bounds = tuple(np.log(TEMPERATURES))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7})
    return float(np.exp(found.x))


def at_temperature(logits: np.ndarray, t: float) -> np.ndarray:
    """Probabilities of logits (n, origins) at a temperature t > 0: float64 (n, origins)."""
    return np.asarray(softmax(np.asarray(logits, dtype=np.float64) / t, axis=1))


def calibration_metrics(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15
) -> CalibrationMetrics:
    """Calibration of probabilities (n, origins) against labels (n,), n at least 1."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    # The inner edges alone: rounding can put a confidence a hair over 1.
    place = np.searchsorted(edges[1:-1], confidence, side="left")
    counts = np.bincount(place, minlength=bins)

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(place, weights=values, minlength=bins)
        return np.asarray(np.divide(sums, counts, out=np.full(bins, np.nan), where=counts > 0))

    sure, accuracy = mean(confidence), mean(right)
    gaps = np.nan_to_num(np.abs(accuracy - sure))
    own = probabilities[np.arange(len(labels)), labels]
    truth = labels[:, None] == np.arange(probabilities.shape[1])
    return CalibrationMetrics(
        edges=tuple(edges.tolist()),
        confidence=tuple(sure.tolist()),
        accuracy=tuple(accuracy.tolist()),
        counts=tuple(counts.tolist()),
        ece=float((counts * gaps).sum() / counts.sum()),
        mce=float(gaps.max()),
        nll=float(-np.log(np.maximum(own, 1e-300)).mean()),
        brier=float(((probabilities - truth) ** 2).sum(axis=1).mean()),
    )


def tpr_interval(
    known_scores: np.ndarray, tpr: float = 0.95, level: float = 0.95
) -> tuple[float, float]:
    """What share of new known images a threshold chosen at ``tpr`` really keeps.

    :func:`~whichgen.openset.threshold.threshold_at_tpr` takes the k-th highest of n scores,
    k = ⌈tpr n⌉. Whatever the distribution of scores, the share of it at or over that one is
    Beta(k, n + 1 − k) distributed (David & Nagaraja, 2003, section 2.5), where scores have no ties;
    a tie at the threshold, which keeps more than k, only lifts the upper bound.

    It holds where new images are drawn as the validation images were, independently, and nothing
    else was chosen on these.

    Parameters
    ----------
    known_scores
        Open-set scores of the known validation images that the threshold is chosen on: (n,).
    tpr
        Share of them to keep, in (0, 1].
    level
        Confidence in (0, 1), equal tails.

    Returns
    -------
    low, high
        True-positive rates in [0, 1].

    Raises
    ------
    FitError
        No score, or ``tpr`` or ``level`` out of range.
    """
    if not 0 < level < 1:
        raise FitError(f"the confidence level must be over 0 and under 1, got {level}.")
    n = len(known_scores)
    kept = int((known_scores >= threshold_at_tpr(known_scores, tpr)).sum())
    # As threshold_at_tpr rounds it.
    k = max(1, int(np.ceil(tpr * n - 1e-9)))
    low = beta.ppf((1 - level) / 2, k, n + 1 - k)
    high = beta.ppf((1 + level) / 2, kept, n + 1 - kept)
    return float(low), float(high)
