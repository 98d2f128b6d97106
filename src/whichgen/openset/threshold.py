"""The threshold below which an image is ``unknown``."""

from __future__ import annotations

import numpy as np

from whichgen.errors import FitError

#: The answer for an image whose score is below the threshold.
UNKNOWN = "unknown"


def threshold_at_tpr(known_scores: np.ndarray, tpr: float = 0.95) -> float:
    """The largest threshold that keeps at least ``tpr`` of the known images (score ≥ threshold).

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
    # The tolerance keeps e.g. 0.95 · 100 from becoming 96 by rounding.
    keep = max(1, int(np.ceil(tpr * len(descending) - 1e-9)))
    return float(descending[keep - 1])


def decide(probabilities: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """The index of the most probable origin, or -1 where the score is below the threshold.

    Arrays (n, origins) and (n,) → int64 array (n,).
    """
    return np.where(scores >= threshold, probabilities.argmax(axis=1), -1).astype(np.int64)
