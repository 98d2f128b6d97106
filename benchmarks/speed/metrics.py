"""Measure the time of metrics on a million scores."""

from __future__ import annotations

import time

import numpy as np

from whichgen.evaluation.oscr import compute_oscr
from whichgen.evaluation.unknown_detection import compute_auroc, compute_detection_metrics
from whichgen.io.result_files import Row


def measure(n: int = 1_000_000) -> list[Row]:
    """Return one row per metric, for n scores, half of known and half of unknown images."""
    rng = np.random.default_rng(0)
    known, unknown = rng.normal(1, 1, n // 2), rng.normal(0, 1, n // 2)
    correct = rng.random(n // 2) < 0.8
    calls = {
        "AUROC": lambda: compute_auroc(known, unknown),
        "OSCR": lambda: compute_oscr(known, correct, unknown),
        "all detection metrics": lambda: compute_detection_metrics(known, unknown),
    }
    rows = []
    for name, call in calls.items():
        start = time.perf_counter()
        call()
        rows.append({"metric": name, "scores": n, "seconds": f"{time.perf_counter() - start:.2f}"})
    return rows
