"""The choice of block and hyperparameter: a grid of candidates, and the best of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from whichgen.errors import FitError
from whichgen.evaluation.detection import auroc
from whichgen.evaluation.oscr import oscr
from whichgen.heads.base import SweepMethod

#: Names of selection metrics, as users of the first implementation know them, and the field of
#: :class:`Candidate` they mean.
METRICS = {"AUC": "auroc", "OSCR": "oscr", "accuracy": "accuracy"}


@dataclass(frozen=True)
class FoldFeatures:
    """One fold's features of one block: float arrays (n, d) with integer labels (n,)."""

    train: np.ndarray
    train_labels: np.ndarray
    val: np.ndarray
    val_labels: np.ndarray
    unknown: np.ndarray
    n_origins: int


@dataclass(frozen=True)
class Candidate:
    """Validation metrics of one block and hyperparameter value; ``None``: no unknown images."""

    block: int
    value: float
    accuracy: float
    auroc: float | None
    oscr: float | None

    def metric(self, name: str) -> float:
        """The value of one of :data:`METRICS`, accuracy where it needs unknown images."""
        wanted: float | None = getattr(self, METRICS[name])
        return self.accuracy if wanted is None else wanted


def sweep_block(block: int, head_method: SweepMethod, fold: FoldFeatures) -> list[Candidate]:
    """Every hyperparameter value of a head_method on one block, by one fold."""
    candidates = []
    queries = [fold.val, fold.unknown] if len(fold.unknown) else [fold.val]
    for value, answers in head_method.sweep(fold.train, fold.train_labels, fold.n_origins, queries):
        correct = answers[0].argmax(axis=1) == fold.val_labels
        known = answers[0].max(axis=1)
        unknown = answers[1].max(axis=1) if len(answers) > 1 else None
        candidates.append(
            Candidate(
                block=block,
                value=value,
                accuracy=float(correct.mean()),
                auroc=None if unknown is None else auroc(known, unknown),
                oscr=None if unknown is None else oscr(known, correct, unknown),
            )
        )
    return candidates


def average_folds(folds: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """Candidates averaged over folds; values that a fold could not serve are left out."""
    seen: dict[tuple[int, float], list[Candidate]] = defaultdict(list)
    for fold in folds:
        for candidate in fold:
            seen[candidate.block, candidate.value].append(candidate)

    def mean(values: Iterable[float | None]) -> float | None:
        present = [v for v in values if v is not None]
        return fmean(present) if present else None

    return [
        Candidate(
            block=block,
            value=value,
            accuracy=fmean(c.accuracy for c in found),
            auroc=mean(c.auroc for c in found),
            oscr=mean(c.oscr for c in found),
        )
        for (block, value), found in seen.items()
        if len(found) == len(folds)
    ]


def check_metric(name: str) -> None:
    """Raises :class:`FitError` unless the name is one of :data:`METRICS`."""
    if name not in METRICS:
        raise FitError(f"unknown selection metric {name!r}; there are {', '.join(METRICS)}.")


def select_best(grid: Sequence[Candidate], metric: str = "AUC") -> Candidate:
    """The best candidate; of equals the first, which is the earliest block and the smallest value.

    Raises
    ------
    FitError
        The metric is not one of :data:`METRICS`, or the grid is empty.
    """
    check_metric(metric)
    if not grid:
        raise FitError(
            "nothing to choose from: no block, or no hyperparameter value fits the images."
        )
    return max(grid, key=lambda candidate: candidate.metric(metric))


def select_per_block(grid: Sequence[Candidate], metric: str = "AUC") -> list[Candidate]:
    """The best candidate of each block, in the order of blocks."""
    blocks = sorted({candidate.block for candidate in grid})
    return [select_best([c for c in grid if c.block == block], metric) for block in blocks]
