"""Temperature scaling and calibration metrics.

Temperature scaling (Guo, Pleiss, Sun & Weinberger, 2017, section 4.2) divides the logits z by a
temperature T that minimizes the negative log-likelihood of n validation images xᵢ with known
origins yᵢ::

    p(x) = softmax(z(x) / T),    T = argmin −1/n Σᵢ log p_yᵢ(xᵢ)

The predicted origins do not change. Probabilities are calibrated only for images similar to the
validation images; they are not calibrated for images of unknown generators.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from whichgen.errors import FitError
from whichgen.heads.softmax import log_softmax

#: Minimum and maximum temperature.
TEMPERATURES = (1e-3, 1e3)


@dataclass(frozen=True)
class CalibrationMetrics:
    """Accuracy as a function of confidence, which is the largest probability of an image.

    The confidence bins have equal width: bin b is the interval (``edges[b]``, ``edges[b + 1]``],
    and the first bin includes 0.

    Parameters
    ----------
    edges
        Edges of the bins, from 0 to 1: number of bins + 1 values.
    confidence, accuracy
        Mean confidence and fraction of correct predictions in each bin, in [0, 1]; NaN if the bin
        is empty.
    counts
        Number of images in each bin.
    ece
        Expected calibration error (Guo et al., 2017, section 2), in [0, 1]:
        \\|accuracy − confidence\\|, averaged over bins with weights ``counts``.
    """

    edges: tuple[float, ...]
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    counts: tuple[int, ...]
    ece: float


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Fit the temperature that minimizes the negative log-likelihood.

    If every image is classified correctly, the likelihood increases as T decreases, and all
    confidences would become 1. In this case, the one-hot targets of the n images are smoothed: the
    uniform distribution over origins is mixed in with weight 1 / (n + 1).

    Parameters
    ----------
    logits
        float array (n, origins), n at least 1.
    labels
        Indices of true origins: int array (n,).

    Returns
    -------
    float
        The temperature T, in the range :data:`TEMPERATURES`.

    Raises
    ------
    FitError
        There are no images, or the logits are not finite.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if len(logits) == 0:
        raise FitError(
            "can't fit the temperature: the validation set has no images of known origins. Add "
            "images of known origins to it."
        )
    if not np.isfinite(logits).all():
        raise FitError(
            "can't fit the temperature: the logits are not finite. Check the features for NaN "
            "and infinity."
        )
    rows = np.arange(len(labels))
    all_correct = (logits[rows, labels] >= logits.max(axis=1)).all()
    smoothing = 1 / (len(labels) + 1) if all_correct else 0.0

    def compute_loss(log_t: float) -> float:
        log_p = log_softmax(logits / np.exp(log_t), axis=1)
        return -float((1 - smoothing) * log_p[rows, labels].mean() + smoothing * log_p.mean())

    # The loss is convex in 1/T, so it has a single minimum in log T, too.
    bounds = tuple(np.log(TEMPERATURES))
    minimum = minimize_scalar(
        compute_loss, bounds=bounds, method="bounded", options={"xatol": 1e-7}
    )
    return float(np.exp(minimum.x))


def compute_calibration_metrics(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15
) -> CalibrationMetrics:
    """Compute the calibration metrics of predicted probabilities.

    Parameters
    ----------
    probabilities
        Probabilities in [0, 1]: float array (n, origins), n at least 1.
    labels
        Indices of true origins: int array (n,).
    bins
        Number of confidence bins.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    # Omit the outer edges, because rounding can make a confidence slightly larger than 1.
    bin_indices = np.searchsorted(edges[1:-1], confidence, side="left")
    counts = np.bincount(bin_indices, minlength=bins)

    def average(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(bin_indices, weights=values, minlength=bins)
        return np.asarray(np.divide(sums, counts, out=np.full(bins, np.nan), where=counts > 0))

    mean_confidence, accuracy = average(confidence), average(correct)
    gaps = np.nan_to_num(np.abs(accuracy - mean_confidence))
    return CalibrationMetrics(
        edges=tuple(edges.tolist()),
        confidence=tuple(mean_confidence.tolist()),
        accuracy=tuple(accuracy.tolist()),
        counts=tuple(counts.tolist()),
        ece=float((counts * gaps).sum() / counts.sum()),
    )
