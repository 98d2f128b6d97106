"""Headline metrics of a test set, optionally with image weights for the bootstrap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whichgen.constants import REAL
from whichgen.errors import DataError
from whichgen.evaluation.closed_set import compute_closed_set_averages
from whichgen.evaluation.oscr import compute_oscr_from_counts
from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.real_vs_synthetic import separate_real
from whichgen.evaluation.threshold_counts import (
    ThresholdCounts,
    compute_average_precision,
    compute_roc_area,
    make_unit_weights,
)
from whichgen.evaluation.unknown_detection import compute_detection_metrics_from_counts

#: The title of each metric, in the order of tables.
METRIC_TITLES = {
    "accuracy": "Closed-set accuracy",
    "macro_f1": "Macro F1",
    "macro_recall": "Macro recall",
    "auroc": "AUROC, known vs. unknown",
    "oscr": "OSCR",
    "tnr_at_tpr95": "Unknown rejected, 95 % known accepted (TNR)",
    "detection_accuracy": "Detection accuracy, known vs. unknown",
    "auin": "Area under precision-recall, known (AUIN)",
    "auout": "Area under precision-recall, unknown (AUOUT)",
    "acceptance_rate": "Known images accepted at the threshold",
    "rejection_rate": "Unknown images rejected at the threshold",
    "open_accuracy": "Correct predictions at the threshold",
    "synthetic_auroc": "AUROC, real vs. synthetic",
    "synthetic_average_precision": "Average precision, real vs. synthetic",
}

#: Metrics for summaries and comparisons of runs.
KEY_METRICS = ("accuracy", "macro_f1", "auroc", "oscr", "tnr_at_tpr95")


class HeadlineMetrics:
    """Headline metrics of a test set, as a function of image weights.

    Scores are sorted only once, in the constructor. Detection metrics, ``oscr`` and
    ``rejection_rate`` are NaN without unknown images; ``synthetic_auroc`` and
    ``synthetic_average_precision`` are NaN without images of the known origin ``real`` or without
    synthetic images.

    Parameters
    ----------
    known, unknown
        Predictions for n test images of known origins and m test images of unknown origins;
        ``unknown`` may be empty.
    origins
        The known origins, in the order of the probabilities' columns.
    threshold
        Images with a lower open-set score are classified as ``unknown``. ``None`` omits
        ``acceptance_rate``, ``rejection_rate`` and ``open_accuracy``.

    Raises
    ------
    DataError
        There is no known image, or a known image has an origin that is not in ``origins``.
    """

    def __init__(
        self,
        known: Predictions,
        unknown: Predictions,
        origins: Sequence[str],
        threshold: float | None = None,
    ) -> None:
        if not len(known):
            raise DataError(
                "the test set has no images of known origins. Add images of known origins to it."
            )
        self._known, self._unknown, self._threshold = known, unknown, threshold
        self._labels, self._n_origins = known.get_labels(origins), len(origins)
        self._correct = known.predicted == self._labels
        self._counts = ThresholdCounts(known.scores, unknown.scores)
        self._is_real = known.origins == REAL
        self._synthetic = ThresholdCounts(*separate_real(known, unknown, origins))

    @property
    def values(self) -> dict[str, float]:
        """Metrics in [0, 1] by name, with equal weights; undefined (NaN) metrics are omitted."""
        metrics = self(make_unit_weights(self._known), make_unit_weights(self._unknown))
        values = {name: float(value[0]) for name, value in metrics.items()}
        return {name: value for name, value in values.items() if not np.isnan(value)}

    def __call__(self, weights: np.ndarray, unknown_weights: np.ndarray) -> dict[str, np.ndarray]:
        """Compute each metric for each row of weights.

        Parameters
        ----------
        weights, unknown_weights
            Number of times each known and each unknown image counts: integers as float64 arrays
            (rows, n) and (rows, m). Images with weight 0 are ignored.

        Returns
        -------
        dict
            Maps the name of each metric to a float64 array (rows,) in [0, 1], with NaN for rows in
            which the metric is undefined.
        """
        w, v = weights, unknown_weights
        known, unknown = self._counts.sum_positive(w), self._counts.sum_negative(v)
        correct = self._counts.sum_positive(w * self._correct)
        n, m = known[:, -1], unknown[:, -1]
        synthetic = self._synthetic.sum_positive(np.concatenate([w[:, ~self._is_real], v], axis=1))
        real = self._synthetic.sum_negative(w[:, self._is_real])
        with np.errstate(invalid="ignore", divide="ignore"):
            oscr = compute_oscr_from_counts(correct, known, unknown)
            detection = compute_detection_metrics_from_counts(known, unknown) | {"oscr": oscr}
            areas = {
                "synthetic_auroc": compute_roc_area(synthetic, real),
                "synthetic_average_precision": compute_average_precision(synthetic, real),
            }
            metrics = {
                **compute_closed_set_averages(
                    self._known.predicted, self._labels, self._n_origins, w
                ),
                **_mask_undefined(detection, (n > 0) & (m > 0)),
                **_mask_undefined(areas, (synthetic[:, -1] > 0) & (real[:, -1] > 0)),
            }
            if self._threshold is not None:
                is_accepted = self._known.scores >= self._threshold
                n_rejected = v @ (self._unknown.scores < self._threshold)
                metrics["acceptance_rate"] = w @ is_accepted / n
                metrics["rejection_rate"] = n_rejected / m
                n_correct = w @ (is_accepted & self._correct) + n_rejected
                metrics["open_accuracy"] = n_correct / (n + m)
        return metrics


def _mask_undefined(metrics: dict[str, np.ndarray], defined: np.ndarray) -> dict[str, np.ndarray]:
    """Replace metrics (rows,) with NaN where the bool array ``defined`` (rows,) is false."""
    return {name: np.where(defined, values, np.nan) for name, values in metrics.items()}
