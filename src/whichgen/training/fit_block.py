"""The main experiment: choose block and hyperparameter, fit, set the threshold, test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from whichgen.constants import TPR
from whichgen.encoders.base import Encoder
from whichgen.errors import FitError
from whichgen.evaluation.detection import auroc
from whichgen.evaluation.oscr import oscr
from whichgen.evaluation.predictions import Predictions, label_indices
from whichgen.evaluation.protocols import Protocol, check_protocol, make_protocol
from whichgen.features.table import FeatureTable
from whichgen.heads.base import Head, SweepMethod
from whichgen.io.run_metadata import collect_run_metadata
from whichgen.models.origin_model import OriginModel
from whichgen.openset.prediction import predict
from whichgen.progress import Progress, no_progress
from whichgen.training.finalize import EvaluatedModel, tested
from whichgen.training.selection import (
    Candidate,
    average_folds,
    check_metric,
    select_best,
    select_per_block,
)
from whichgen.training.split_features import SplitFeatures, fold_tables
from whichgen.training.sweeps import Sweep, run_in_processes, run_sweeps


@dataclass(frozen=True)
class FitOptions:
    """How a model is chosen.

    Parameters
    ----------
    head_method
        The kind of head with its grid.
    blocks
        Blocks to try, counted from 0; empty: all.
    metric
        What is best on validation: ``AUC``, ``OSCR`` or ``accuracy``.
    protocol
        ``clean`` or ``paper`` (see :mod:`whichgen.evaluation.protocols`).
    tpr
        Share of known validation images that the threshold keeps.
    jobs
        Processes that fit heads; -1: one for each core.
    thumbnails
        Keep small pictures of some training and validation images in the model, to show.

    Raises
    ------
    DataError, FitError
        A protocol or metric that there is not, or a share that is none. Here, and not after hours
        of extraction.
    """

    head_method: SweepMethod
    blocks: tuple[int, ...] = ()
    metric: str = "AUC"
    protocol: str = "clean"
    tpr: float = TPR
    seed: int = 0
    jobs: int = -1
    thumbnails: bool = False

    def __post_init__(self) -> None:
        check_protocol(self.protocol)
        check_metric(self.metric)
        if not 0 < self.tpr <= 1:
            raise FitError(
                f"--tpr {self.tpr:g}: the share of known images to keep must be over 0 and at "
                "most 1, as in 0.95."
            )

    def blocks_of(self, encoder: Encoder) -> tuple[int, ...]:
        """The blocks to try, ascending; :class:`FitError` for one the encoder does not have."""
        total = len(encoder.block_dims)
        stray = sorted({b for b in self.blocks if not 0 <= b < total})
        if stray:
            raise FitError(
                f"{encoder.name} has no block {', '.join(map(str, stray))}; its {total} blocks "
                f"count from 0 to {total - 1}."
            )
        return tuple(sorted(set(self.blocks))) or tuple(range(total))


@dataclass(frozen=True)
class BlockResult:
    """One block at its best hyperparameter: validation metrics and, not chosen by, test ones."""

    validation: Candidate
    test: Candidate


@dataclass(frozen=True)
class FitResult(EvaluatedModel):
    """The result of :func:`fit`; ``grid`` is every candidate's validation metrics."""

    grid: tuple[Candidate, ...]
    blocks: tuple[BlockResult, ...]

    @property
    def block(self) -> int:
        """The chosen block."""
        return self.model.blocks[0]


def sweep(
    parts: SplitFeatures,
    protocol: Protocol,
    options: FitOptions,
    encoder: Encoder,
    *,
    cache: Path | None = None,
    progress: Progress = no_progress,
) -> list[Candidate]:
    """Validation metrics of every block and hyperparameter value, averaged over folds.

    Raises
    ------
    FitError
        A block that the encoder does not have, or a fit that failed.
    """
    blocks = options.blocks_of(encoder)
    folds = [(fold.known, fold_tables(parts, fold)) for fold in protocol.folds]
    sweeps = [
        Sweep(block, known, tables, options.head_method)
        for known, tables in folds
        for block in blocks
    ]
    done = progress(
        run_sweeps(sweeps, encoder.key, cache=cache, jobs=options.jobs),
        description=f"Sweeping {options.head_method.parameter}",
        total=len(sweeps),
    )
    candidates = list(done)
    by_fold = [candidates[f * len(blocks) : (f + 1) * len(blocks)] for f in range(len(folds))]
    return average_folds([[c for block in fold for c in block] for fold in by_fold])


def fit(
    parts: SplitFeatures,
    encoder: Encoder,
    options: FitOptions,
    *,
    config: Mapping[str, Any] | None = None,
    cache: Path | None = None,
    progress: Progress = no_progress,
) -> FitResult:
    """Chooses, fits, sets the threshold and tests.

    Parameters
    ----------
    config
        What the user asked for, kept in the model's run metadata.
    cache
        Where finished sweeps are kept, so that an interrupted run goes on.
    """
    protocol = make_protocol(parts.dataset, options.protocol, seed=options.seed)
    grid = sweep(parts, protocol, options, encoder, cache=cache, progress=progress)
    best = select_best(grid, options.metric)
    per_block = select_per_block(grid, options.metric)
    train = parts.tables["train"]
    labels = label_indices(train.origins, parts.dataset.known)
    fits = ((train.block(c.block), labels, len(parts.dataset.known), c.value) for c in per_block)
    heads = progress(
        run_in_processes(options.head_method.fit, fits, jobs=options.jobs),
        description="Testing blocks",
        total=len(per_block),
    )
    blocks = []
    for candidate, fitted in zip(per_block, heads, strict=True):
        on_known, on_unknown = (
            _answers(fitted, parts.tables[part], candidate.block)
            for part in (protocol.test_split, "test_unknown")
        )
        blocks.append(
            BlockResult(
                candidate, with_test_metrics(candidate, on_known, on_unknown, parts.dataset.known)
            )
        )
        if candidate.block == best.block:
            head = fitted
    draft = OriginModel(
        origins=parts.dataset.known,
        encoder=encoder.describe(),
        blocks=(best.block,),
        head_method=options.head_method.name,
        hyperparameter=best.value,
        head=head,
        threshold=float("nan"),
        tpr=options.tpr,
        data_hash=parts.data_hash,
        metrics={},
        run_metadata=collect_run_metadata(
            {**(config or {}), "protocol": options.protocol, "metric": options.metric},
            seeds={"seed": options.seed},
            encoder=encoder.describe(),
            data_hash=parts.data_hash,
        ),
    )
    found = tested(draft, parts, protocol, options.metric, thumbnails=options.thumbnails)
    return FitResult(**vars(found), grid=tuple(grid), blocks=tuple(blocks))


def _answers(head: Head, table: FeatureTable, block: int) -> Predictions:
    probabilities, scores = predict(head.forward(table.block(block)))
    return Predictions(probabilities, table.origins, scores)


def with_test_metrics(
    chosen: Candidate, known: Predictions, unknown: Predictions, origins: Sequence[str]
) -> Candidate:
    """The test metrics of a chosen candidate."""
    correct = known.predicted == known.labels(origins)
    some = len(unknown) > 0
    return replace(
        chosen,
        accuracy=float(np.mean(correct)),
        auroc=auroc(known.scores, unknown.scores) if some else None,
        oscr=oscr(known.scores, correct, unknown.scores) if some else None,
    )
