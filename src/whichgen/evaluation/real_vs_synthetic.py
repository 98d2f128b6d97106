"""Metrics for detecting synthetic images of known and unknown generators.

The score of an image is the log-odds that it is not real, where p_j is the predicted probability of
origin j::

    s = log Σ_{j ≠ real} p_j − log p_real

Synthetic images are the positive class; known test images of the origin ``real`` are the negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whichgen.constants import REAL
from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.threshold_counts import (
    ThresholdCounts,
    compute_average_precision,
    compute_roc_area,
    make_unit_weights,
)

# Keeps the logarithm of a zero probability finite without changing other probabilities.
_TINY = 1e-300


@dataclass(frozen=True)
class SyntheticResult:
    """Metrics of one set of synthetic images against the real images.

    Parameters
    ----------
    name
        ``known generators``, ``unknown generators`` or ``all``.
    images
        Number of synthetic images.
    auroc, average_precision
        Area under the ROC curve and average precision, in [0, 1], with synthetic images as the
        positive class. Only average precision depends on the ratio of synthetic to real images.
    """

    name: str
    images: int
    auroc: float
    average_precision: float


def compute_synthetic_scores(probabilities: np.ndarray, origins: Sequence[str]) -> np.ndarray:
    """Compute the log-odds that each image is synthetic.

    Parameters
    ----------
    probabilities
        Probabilities in [0, 1]: float64 array (n, origins).
    origins
        The known origins, in the order of the probabilities' columns.

    Returns
    -------
    float64 array (n,)
        The log-odds, finite also for probabilities of 0 and 1.
    """
    is_real = np.array(origins) == REAL
    # 1 − p_real would be inexact if p_real is close to 1.
    synthetic = np.compress(~is_real, probabilities, axis=1).sum(axis=1)
    real = np.compress(is_real, probabilities, axis=1).sum(axis=1)
    return np.asarray(np.log(synthetic + _TINY) - np.log(real + _TINY))


def separate_real(
    known: Predictions, unknown: Predictions, origins: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the log-odds that each test image is synthetic; separate synthetic from real images.

    Parameters
    ----------
    known, unknown
        Predictions for test images of known origins and of unknown generators; ``unknown`` may be
        empty.
    origins
        The known origins, in the order of the probabilities' columns.

    Returns
    -------
    synthetic
        Log-odds (:func:`compute_synthetic_scores`) of images of known generators, followed by those
        of unknown generators: float64 array (synthetic images,).
    real
        Log-odds of real images: float64 array (real images,).
    """
    is_real = known.origins == REAL
    scores, unknown_scores = (
        compute_synthetic_scores(p.probabilities, origins) for p in (known, unknown)
    )
    return np.concatenate([scores[~is_real], unknown_scores]), scores[is_real]


def compute_real_vs_synthetic_metrics(
    known: Predictions, unknown: Predictions, origins: Sequence[str]
) -> tuple[SyntheticResult, ...]:
    """Compute the metrics of each set of synthetic images against the real images.

    The sets are the images of known generators, of unknown generators and of all generators, in
    this order. Sets without images are omitted; the result is empty without real images. The
    parameters are those of :func:`separate_real`.
    """
    scores, real = separate_real(known, unknown, origins)
    n_known = len(known) - len(real)
    sets = {
        "known generators": scores[:n_known],
        "unknown generators": scores[n_known:],
        "all": scores,
    }
    results = []
    for name, synthetic in sets.items():
        if len(synthetic) and len(real):
            curve = ThresholdCounts(synthetic, real)
            hits = curve.sum_positive(make_unit_weights(synthetic))
            false_alarms = curve.sum_negative(make_unit_weights(real))
            auroc = float(compute_roc_area(hits, false_alarms)[0])
            mean_precision = float(compute_average_precision(hits, false_alarms)[0])
            results.append(SyntheticResult(name, len(synthetic), auroc, mean_precision))
    return tuple(results)
