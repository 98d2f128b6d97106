"""Train a head on every block, select block and hyperparameter, and evaluate the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichgen.encoders.base import Encoder
from whichgen.errors import FitError
from whichgen.evaluation.predictions import Predictions, label_indices
from whichgen.evaluation.protocols import Protocol, make_protocol
from whichgen.heads.base import SweepMethod
from whichgen.openset.prediction import predict
from whichgen.progress import Progress, no_progress
from whichgen.training.finalize import (
    EvaluatedModel,
    SelectedHead,
    evaluate_model,
    finalize_model,
)
from whichgen.training.selection import (
    Candidate,
    SelectionOptions,
    average_folds,
    select_best,
    select_per_block,
    selection_metrics,
)
from whichgen.training.split_features import SplitFeatures, fold_tables
from whichgen.training.sweeps import Sweep, run_in_processes, run_sweeps


@dataclass(frozen=True)
class FitOptions(SelectionOptions):
    """Options of :func:`fit`.

    Parameters
    ----------
    head_method
        The kind of head, with its grid of hyperparameter values.
    blocks
        Blocks to try, counted from 0; all by default.
    """

    head_method: SweepMethod
    blocks: tuple[int, ...] = ()

    def blocks_of(self, encoder: Encoder) -> tuple[int, ...]:
        """Return the blocks to try, ascending.

        Raises
        ------
        FitError
            The encoder does not have one of them.
        """
        total = len(encoder.block_dims)
        if missing := sorted({b for b in self.blocks if not 0 <= b < total}):
            raise FitError(
                f"{encoder.name} has no block {', '.join(map(str, missing))}; its {total} blocks "
                f"count from 0 to {total - 1}."
            )
        return tuple(sorted(set(self.blocks))) or tuple(range(total))


@dataclass(frozen=True)
class BlockResult:
    """One block at its best hyperparameter: validation metrics, and test metrics (not used)."""

    validation: Candidate
    test: Candidate


@dataclass(frozen=True)
class FitResult(EvaluatedModel):
    """The result of :func:`fit`; ``grid`` holds every candidate's validation metrics."""

    grid: tuple[Candidate, ...]
    blocks: tuple[BlockResult, ...]

    @property
    def block(self) -> int:
        """The selected block."""
        return self.model.blocks[0]


def sweep_blocks(
    features: SplitFeatures,
    protocol: Protocol,
    options: FitOptions,
    encoder: Encoder,
    *,
    cache: Path | None = None,
    progress: Progress = no_progress,
) -> list[Candidate]:
    """Measure every block and hyperparameter value on validation, averaged over folds.

    Raises
    ------
    FitError
        The encoder does not have one of the blocks, or a fit failed.
    """
    blocks = options.blocks_of(encoder)
    sweeps = [
        Sweep(block, fold.known, tables, options.head_method)
        for fold, tables in [(fold, fold_tables(features, fold)) for fold in protocol.folds]
        for block in blocks
    ]
    results = progress(
        run_sweeps(sweeps, encoder.key, cache=cache, jobs=options.jobs),
        description=f"Sweeping {options.head_method.parameter}",
        total=len(sweeps),
    )
    candidates = list(results)
    by_fold = [candidates[i : i + len(blocks)] for i in range(0, len(sweeps), len(blocks))]
    return average_folds([[c for block in fold for c in block] for fold in by_fold])


def fit(
    features: SplitFeatures,
    encoder: Encoder,
    options: FitOptions,
    *,
    config: Mapping[str, Any] | None = None,
    cache: Path | None = None,
    progress: Progress = no_progress,
) -> FitResult:
    """Select block and hyperparameter, fit the model, and evaluate it.

    Parameters
    ----------
    config
        The user's settings, kept in the model's run metadata.
    cache
        Folder of finished sweeps, so that an interrupted run resumes.
    """
    known = features.dataset.known
    protocol = make_protocol(features.dataset, options.protocol, seed=options.seed)
    grid = sweep_blocks(features, protocol, options, encoder, cache=cache, progress=progress)
    best = select_best(grid, options.metric)
    per_block = select_per_block(grid, options.metric)
    train = features.tables["train"]
    labels = label_indices(train.origins, known)
    calls = ((train.block(c.block), labels, len(known), c.value) for c in per_block)
    heads = progress(
        run_in_processes(options.head_method.fit, calls, jobs=options.jobs),
        description="Testing blocks",
        total=len(per_block),
    )
    blocks = []
    for candidate, head in zip(per_block, heads, strict=True):
        on_known, on_unknown = (
            Predictions(p, table.origins, scores)
            for table in (features.tables[s] for s in (protocol.test_split, "test_unknown"))
            for p, scores in [predict(head.forward(table.block(candidate.block)))]
        )
        metrics = selection_metrics(on_known.scores, on_known.is_correct(known), on_unknown.scores)
        test = Candidate(candidate.block, candidate.value, *metrics)
        blocks.append(BlockResult(candidate, test))
        if candidate.block == best.block:
            selected = SelectedHead(head, options.head_method.name, best.value, (best.block,))
    model = finalize_model(selected, features, encoder, options, config)
    return evaluate_model(
        FitResult, model, features, protocol, options, grid=tuple(grid), blocks=tuple(blocks)
    )
