"""Metrics of predictions that come from one model per fold, for ``paper_claims.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from whichgen.evaluation.bootstrap import LEVEL, resample_weights
from whichgen.evaluation.headline_metrics import HeadlineMetrics
from whichgen.evaluation.predictions import Predictions

RESAMPLES = 400

#: Value, and bounds of the 95 % interval.
Bounds = list[float]
Metrics = dict[str, np.ndarray]


class FoldMetrics:
    """Accuracy and balanced accuracy of all images, and AUROC and OSCR averaged over folds.

    AUROC and OSCR are computed within folds, because scores of different models are not comparable.

    Parameters
    ----------
    pairs
        Predictions for the known and the unknown images of each fold.
    origins
        The known origins, in the order of the probabilities' columns.
    """

    def __init__(
        self, pairs: Sequence[tuple[Predictions, Predictions]], origins: Sequence[str]
    ) -> None:
        parts = zip(*pairs, strict=True)
        self._known, self._unknown = (Predictions.concatenate(part) for part in parts)
        self._all = HeadlineMetrics(self._known, self._unknown, origins)
        self._folds = [HeadlineMetrics(*pair, origins) for pair in pairs]
        self._ends = np.cumsum([[len(part) for part in pair] for pair in pairs], axis=0)[:-1].T

    def __call__(self, known: np.ndarray, unknown: np.ndarray) -> Metrics:
        """Return the metrics for each row of weights of known and of unknown images."""
        pooled = self._all(known, unknown)
        weights = (
            np.split(w, ends, axis=1) for w, ends in zip((known, unknown), self._ends, strict=True)
        )
        folds = [m(k, u) for m, k, u in zip(self._folds, *weights, strict=True)]
        return {name: pooled[name] for name in ("accuracy", "macro_recall")} | {
            name: np.nanmean([fold[name] for fold in folds], axis=0) for name in ("auroc", "oscr")
        }

    @property
    def images(self) -> list[int]:
        """Number of known and of unknown images."""
        return [len(self._known), len(self._unknown)]

    def intervals(self) -> dict[str, Bounds]:
        """Return each metric with its interval, resampled over sources."""
        return self._resample(self)

    def compare(self, other: FoldMetrics) -> dict[str, Bounds]:
        """Return these metrics minus those of ``other`` for the same images, with intervals."""

        def subtract(known: np.ndarray, unknown: np.ndarray) -> Metrics:
            first, second = self(known, unknown), other(known, unknown)
            return {name: first[name] - second[name] for name in first}

        return self._resample(subtract)

    def _resample(self, metric: Callable[[np.ndarray, np.ndarray], Metrics]) -> dict[str, Bounds]:
        values = metric(np.ones((1, len(self._known))), np.ones((1, len(self._unknown))))
        weights = resample_weights(self._known, self._unknown, RESAMPLES, 0)
        chunks = [metric(*chunk) for chunk in weights]
        tails = (1 - LEVEL) / 2, (1 + LEVEL) / 2
        return {
            name: [
                float(value[0]),
                *np.nanquantile(np.concatenate([chunk[name] for chunk in chunks]), tails).tolist(),
            ]
            for name, value in values.items()
        }
