"""All headline metrics of bootstrap resamples, each given as weights of the test images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whichgen.constants import REAL
from whichgen.errors import DataError
from whichgen.evaluation.all_metrics import threshold_metrics
from whichgen.evaluation.closed_set import closed_set_averages
from whichgen.evaluation.detection import detection_curve_metrics
from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.real_vs_synthetic import synthetic_scores
from whichgen.evaluation.score_ranking import ScoreRanking, area, average_precision, roc_area


class ResampledMetrics:
    """Compute the headline metrics for rows of weights; scores are sorted once.

    Without unknown images there are no detection metrics, no ``oscr`` and no ``rejection_rate``;
    without a threshold no metrics at the threshold; and without real or without synthetic images
    no ``synthetic_auroc`` and ``synthetic_average_precision``.

    Parameters
    ----------
    known, unknown
        Predictions for test images of known and of unknown origins; ``unknown`` may be empty.
    origins
        The known origins, in the order of the probabilities' columns.
    threshold
        Images with a score below it are answered ``unknown``.

    Raises
    ------
    DataError
        There is no known image, or a true origin is not in ``origins``.
    """

    def __init__(
        self,
        known: Predictions,
        unknown: Predictions,
        origins: Sequence[str],
        threshold: float | None = None,
    ) -> None:
        if not len(known):
            raise DataError("no known test image: there is no metric to give an interval to.")
        self._known, self._unknown, self._origins = known, unknown, origins
        self._threshold = threshold
        self._labels = known.labels(origins)
        self._correct = known.predicted == self._labels
        self._ranking = ScoreRanking(known.scores, unknown.scores) if len(unknown) else None
        self._is_real = known.origins == REAL
        self._synthetic: ScoreRanking | None = None
        if REAL in origins and self._is_real.any() and len(unknown) + (~self._is_real).sum():
            scores, others = (synthetic_scores(p.probabilities, origins) for p in (known, unknown))
            synthetic = np.concatenate([scores[~self._is_real], others])
            self._synthetic = ScoreRanking(synthetic, scores[self._is_real])

    def __call__(
        self, weights: np.ndarray | None = None, unknown_weights: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Return each metric as a float64 array (rows,), NaN in a row without the images it needs.

        ``weights`` (rows, n) and ``unknown_weights`` (rows, m) are float64 arrays of whole numbers:
        how often each image counts, once by default.
        """
        w = np.ones((1, len(self._known))) if weights is None else weights
        v = np.ones((1, len(self._unknown))) if unknown_weights is None else unknown_weights
        metrics = closed_set_averages(self._known.predicted, self._labels, len(self._origins), w)
        with np.errstate(invalid="ignore", divide="ignore"):
            if self._ranking:
                known, unknown = self._ranking.positive(w), self._ranking.negative(v)
                correct = self._ranking.positive(w * self._correct)
                n, m = known[:, -1:], unknown[:, -1:]
                open_set = detection_curve_metrics(known, unknown)
                open_set["oscr"] = area(unknown / m, correct / n)
                metrics |= _require_both(n, m, open_set)
            if self._threshold is not None:
                at_threshold = threshold_metrics(
                    self._known,
                    self._unknown,
                    self._origins,
                    threshold=self._threshold,
                    weights=w,
                    unknown_weights=v,
                )
                if not self._ranking:
                    del at_threshold["rejection_rate"]
                metrics |= at_threshold
            if self._synthetic:
                synthetic_counts = self._synthetic.positive(
                    np.concatenate([w[:, ~self._is_real], v], axis=1)
                )
                real = self._synthetic.negative(w[:, self._is_real])
                areas = {
                    "synthetic_auroc": roc_area(synthetic_counts, real),
                    "synthetic_average_precision": average_precision(synthetic_counts, real),
                }
                metrics |= _require_both(synthetic_counts[:, -1:], real[:, -1:], areas)
        return metrics


def _require_both(
    n: np.ndarray, m: np.ndarray, metrics: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Replace metrics by NaN in rows without images on one side; n and m (rows, 1) count them."""
    both = (n[:, 0] > 0) & (m[:, 0] > 0)
    return {name: np.where(both, values, np.nan) for name, values in metrics.items()}
