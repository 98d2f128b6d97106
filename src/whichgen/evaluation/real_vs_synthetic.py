"""Real against synthetic images, whichever generator made them.

The score of an image is its log-odds of not being real::

    s = log Σ_{j ≠ real} p_j − log p_real

Synthetic images are the positives; the negatives are the known test images of the origin ``real``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whichgen.constants import REAL
from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.score_ranking import ScoreRanking, average_precision, once_each, roc_area

# Keeps the log of a zero probability finite, and changes no other value.
_TINY = 1e-300


@dataclass(frozen=True)
class SyntheticResult:
    """How well one set of synthetic images is separated from real ones.

    Parameters
    ----------
    name
        ``known generators``, ``unknown generators`` or ``all``.
    images
        Number of synthetic images.
    auroc, average_precision
        In [0, 1]. Average precision depends on the number of images of either kind; AUROC does not.
    """

    name: str
    images: int
    auroc: float
    average_precision: float


def synthetic_scores(probabilities: np.ndarray, origins: Sequence[str]) -> np.ndarray:
    """Compute each image's log-odds of being synthetic: float arrays (n, origins) → float64 (n,).

    ``origins`` names the columns.
    """
    is_real = np.array(origins) == REAL
    # Not 1 − p_real, which loses all precision near 1.
    synthetic = np.compress(~is_real, probabilities, axis=1).sum(axis=1)
    real = np.compress(is_real, probabilities, axis=1).sum(axis=1)
    return np.asarray(np.log(synthetic + _TINY) - np.log(real + _TINY))


def separate_real(
    known: Predictions, unknown: Predictions, origins: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of synthetic images, known generators first, and of real images."""
    is_real = known.origins == REAL
    scores, unknown_scores = (synthetic_scores(p.probabilities, origins) for p in (known, unknown))
    return np.concatenate([scores[~is_real], unknown_scores]), scores[is_real]


def real_vs_synthetic_metrics(
    known: Predictions, unknown: Predictions, origins: Sequence[str]
) -> tuple[SyntheticResult, ...]:
    """Compute the metrics for known, unknown and all generators.

    The result is empty without real images; a set without images is left out.
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
            ranking = ScoreRanking(synthetic, real)
            counts = ranking.positive(once_each(synthetic)), ranking.negative(once_each(real))
            areas = float(roc_area(*counts)[0]), float(average_precision(*counts)[0])
            results.append(SyntheticResult(name, len(synthetic), *areas))
    return tuple(results)
