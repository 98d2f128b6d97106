"""Real against synthetic, whoever made it: what attribution says when that is all one asks.

The score of an image is its log-odds of not being real::

    s = log Σ_{j ≠ real} p_j − log p_real

Synthetic images are the positives; real ones are the known test images of the origin ``real``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score

from whichgen.constants import REAL
from whichgen.evaluation.detection import auroc

# Keeps the log of a probability of zero finite, and changes no other.
_TINY = 1e-300


@dataclass(frozen=True)
class SyntheticResult:
    """How synthetic images are told from real ones; both figures in [0, 1].

    Parameters
    ----------
    name
        Which synthetic images: ``known generators``, ``unknown generators`` or ``all``.
    images
        How many they are.
    auroc, average_precision
        Average precision depends on how many images of either kind there are; AUROC does not.
    """

    name: str
    images: int
    auroc: float
    average_precision: float


def synthetic_scores(probabilities: np.ndarray, origins: Sequence[str]) -> np.ndarray:
    """The score of each image, high is synthetic: float arrays (n, origins) → float64 (n,).

    ``origins`` are those of the columns; one is ``real``.
    """
    at = list(origins).index(REAL)
    # Not 1 − p: where real is next to impossible, that says no more how much so.
    others = np.delete(np.asarray(probabilities, dtype=np.float64), at, axis=1).sum(axis=1)
    return np.asarray(np.log(others + _TINY) - np.log(probabilities[:, at] + _TINY))


def real_vs_synthetic_metrics(
    known: tuple[np.ndarray, np.ndarray],
    unknown: tuple[np.ndarray, np.ndarray],
    origins: Sequence[str],
) -> tuple[SyntheticResult, ...]:
    """Figures of known generators, of unknown ones and of all; none where ``real`` is not known.

    Parameters
    ----------
    known, unknown
        Probabilities (n, origins) and true origins (n,) of test images.
    origins
        The known origins, in the order of the probabilities' columns.
    """
    if REAL not in origins:
        return ()
    scores = synthetic_scores(known[0], origins)
    is_real = known[1] == REAL
    real, generated = scores[is_real], scores[~is_real]
    strange = synthetic_scores(unknown[0], origins)
    groups = {
        "known generators": generated,
        "unknown generators": strange,
        "all": np.concatenate([generated, strange]),
    }
    return tuple(
        SyntheticResult(
            name=name,
            images=len(synthetic),
            auroc=auroc(synthetic, real),
            average_precision=float(
                average_precision_score(
                    np.repeat([1, 0], [len(synthetic), len(real)]),
                    np.concatenate([synthetic, real]),
                )
            ),
        )
        for name, synthetic in groups.items()
        if len(synthetic) and len(real)
    )
