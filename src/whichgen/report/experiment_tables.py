"""Tables of the robustness, low-data and few-shot experiments, in percent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whichgen.experiments.few_shot import FewShotPoint
from whichgen.experiments.low_data import LowDataPoint
from whichgen.experiments.robustness import RobustnessPoint, mean_over_intensities
from whichgen.io.tables import Row, percent
from whichgen.report.result_tables import METRICS, percentages

#: Metrics of the table of perturbations: key and column title.
_ROBUSTNESS = METRICS | {
    "acceptance_rate": "known accepted",
    "rejection_rate": "unknown rejected",
}


def robustness_rates(points: Sequence[RobustnessPoint]) -> list[Row]:
    """Return the metrics of each perturbation as rates in [0, 1]."""
    return [
        {
            "perturbation": str(point.perturbation or "none"),
            **{key: {**vars(point.test), **point.metrics}[key] for key in _ROBUSTNESS},
        }
        for point in points
    ]


def robustness_rows(points: Sequence[RobustnessPoint]) -> list[Row]:
    """Return the metrics of each perturbation."""
    return [
        {"perturbation": rates["perturbation"], **percentages(rates, _ROBUSTNESS)}
        for rates in robustness_rates(points)
    ]


def mean_robustness_rows(points: Sequence[RobustnessPoint]) -> list[Row]:
    """Return the mean metrics of each kind of perturbation."""
    kinds = dict.fromkeys(p.perturbation.kind for p in points if p.perturbation)
    return [
        {
            "mean over five intensities": kind,
            **{t: percent(mean_over_intensities(points, kind, key)) for key, t in METRICS.items()},
        }
        for kind in kinds
    ]


def low_data_rows(points: Sequence[LowDataPoint]) -> list[Row]:
    """Return mean ± standard deviation over seeds per number of training images."""
    rows: list[Row] = []
    for size in sorted({p.samples_per_class for p in points}):
        group = [p for p in points if p.samples_per_class == size]
        metrics = {title: _spread([getattr(p, k) for p in group]) for k, title in METRICS.items()}
        rows.append({"images per class": size, "seeds": len(group), **metrics})
    return rows


def few_shot_rows(points: Sequence[FewShotPoint]) -> list[Row]:
    """Return mean ± standard deviation over generators and seeds per number of enrolled images.

    Changes of accuracy are in percentage points.
    """
    rows: list[Row] = []
    for images in sorted({p.images for p in points}):
        group = [p for p in points if p.images == images]
        changes = [100 * (p.accuracy_after - p.accuracy_before) for p in group]
        rows.append(
            {
                "images": images,
                "generators": len({p.generator for p in group}),
                "enrollments": len(group),
                "recall": _spread([p.recall for p in group]),
                "accepted": _spread([p.accepted for p in group]),
                "AUROC": _spread([p.auroc for p in group]),
                "accuracy change": f"{np.mean(changes):+.1f}",
                "worst change": f"{min(changes):+.1f}",
            }
        )
    return rows


def _spread(rates: Sequence[float | None]) -> str:
    """Format mean ± sample standard deviation of the defined rates, in percent."""
    values = [100 * rate for rate in rates if rate is not None]
    if not values:
        return "–"
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):.1f} ± {deviation:.1f}"
