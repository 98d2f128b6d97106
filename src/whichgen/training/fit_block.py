"""Fit heads on the candidate blocks, select block and hyperparameter, and evaluate the model."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from whichgen.encoders.encoder import Encoder
from whichgen.errors import ConvergenceError, FitError, WhichgenWarning
from whichgen.evaluation.predictions import encode_labels
from whichgen.evaluation.protocols import PAPER, make_protocol
from whichgen.heads.class_balance import balance_classes
from whichgen.heads.head import SweepMethod
from whichgen.heads.linear import advise_on_convergence
from whichgen.openset.predict import predict
from whichgen.progress import Progress, no_progress
from whichgen.training.finalize_model import (
    EvaluatedModel,
    SelectedHead,
    evaluate_model,
    finalize_model,
)
from whichgen.training.parallel_sweeps import Sweep, choose_jobs, run_in_processes, run_sweeps
from whichgen.training.selection import (
    NO_CANDIDATE,
    Candidate,
    SelectionOptions,
    average_by_key,
    compute_selection_metrics,
    fit_first,
    rank_candidates,
    select_best,
)
from whichgen.training.split_features import SplitFeatures, select_fold_tables


@dataclass(frozen=True)
class FitOptions(SelectionOptions):
    """Options of :func:`fit`.

    Parameters
    ----------
    head_method
        Method that fits the heads, with its grid of hyperparameter values. Under the protocol
        ``paper``, it is replaced with a copy that balances the classes
        (:func:`~whichgen.heads.class_balance.balance_classes`).
    blocks
        Indices of the blocks to try, starting at 0; all blocks if empty.

    Raises
    ------
    DataError
        The protocol does not exist.
    FitError
        The protocol is ``paper`` and the method can't balance classes, or another option is invalid
        (:class:`~whichgen.training.selection.SelectionOptions`).
    """

    head_method: SweepMethod
    blocks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.protocol == PAPER:
            object.__setattr__(self, "head_method", balance_classes(self.head_method))

    def list_blocks(self, encoder: Encoder) -> tuple[int, ...]:
        """Return the indices of the encoder's blocks to try, ascending and without duplicates.

        Raises
        ------
        FitError
            A block in ``blocks`` does not exist in the encoder.
        """
        total = len(encoder.block_dims)
        if missing := sorted({b for b in self.blocks if not 0 <= b < total}):
            raise FitError(
                f"{encoder.name} has no block {', '.join(map(str, missing))}. Choose from 0 to "
                f"{total - 1}."
            )
        return tuple(sorted(set(self.blocks))) or tuple(range(total))


@dataclass(frozen=True)
class BlockResult:
    """Validation and test metrics of one block with its best hyperparameter value.

    Parameters
    ----------
    block
        Index of the block, starting at 0.
    value
        The hyperparameter value with the best validation metric among those that could be fitted
        on every fold and on all training images.
    val_accuracy, val_auroc, val_oscr
        Validation metrics, in [0, 1]; AUROC and OSCR are ``None`` without unknown images.
    test_accuracy, test_auroc, test_oscr
        Test metrics, in [0, 1], which are not used for selection; AUROC and OSCR are ``None``
        without unknown images.
    """

    block: int
    value: float
    val_accuracy: float
    val_auroc: float | None
    val_oscr: float | None
    test_accuracy: float
    test_auroc: float | None
    test_oscr: float | None


@dataclass(frozen=True)
class FitResult(EvaluatedModel):
    """Result of :func:`fit`.

    Parameters
    ----------
    grid
        Each combination of block and hyperparameter value that could be fitted on every fold, with
        its validation metrics.
    blocks
        Metrics of each block with its best hyperparameter value. Blocks for which no value could be
        fitted on every fold and on all training images are omitted.
    note
        Message about the hyperparameter values for which the solver did not converge, and their
        blocks; empty if it converged for all values.
    """

    grid: tuple[Candidate, ...]
    blocks: tuple[BlockResult, ...]
    note: str = ""

    @property
    def block(self) -> int:
        """Index of the selected block."""
        return self.model.blocks[0]


def fit(
    features: SplitFeatures,
    encoder: Encoder,
    options: FitOptions,
    *,
    config: Mapping[str, Any] | None = None,
    cache: Path | None = None,
    progress: Progress = no_progress,
) -> FitResult:
    """Select the block and hyperparameter, fit the model, and evaluate it on the test images.

    Parameters
    ----------
    features
        Features of all splits.
    encoder
        The encoder that computed the features.
    options
        Head method, blocks and options of the selection.
    config
        Configuration to store in the model's run metadata.
    cache
        Folder that caches the metrics of finished sweeps, so that an interrupted run can resume;
        ``None`` disables the cache.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Returns
    -------
    FitResult
        The model with its validation and test metrics.

    Raises
    ------
    DataError
        The protocol is ``paper``, and the dataset has no unknown validation images; there are no
        known test images; or SOURCE_DATE_EPOCH is not a valid time.
    FitError
        A block in ``options.blocks`` does not exist in the encoder, a feature is not finite, a
        known origin has no training image, or no hyperparameter value can be fitted on every fold.
    ConvergenceError
        The solver did not converge for any combination of block and hyperparameter value.
    OSError
        The cache can't be written, for example because the disk is full. A read-only cache is not
        an error.
    StoreError
        The features or the facts about the images can't be read or written.

    Warns
    -----
    WhichgenWarning
        The solver did not converge for some combinations of block and hyperparameter value, which
        can't be selected.
    """
    known = features.dataset.known
    protocol = make_protocol(features.dataset, options.protocol, seed=options.seed)
    blocks = options.list_blocks(encoder)
    folds = [select_fold_tables(features, fold) for fold in protocol.folds]
    sweeps = [Sweep(block, fold, options.head_method) for fold in folds for block in blocks]
    comparisons = sum(
        len(sweep.tables.train) * (len(sweep.tables.known) + len(sweep.tables.unknown))
        for sweep in sweeps
    )
    jobs = choose_jobs(options.head_method, comparisons, options.jobs)
    sweep_results = progress(
        run_sweeps(sweeps, encoder.key, cache=cache, jobs=jobs),
        description=f"Sweeping {options.head_method.parameter}",
        total=len(sweeps),
    )
    results = []
    failures: dict[float, set[int]] = defaultdict(set)
    for sweep, metrics_by_value in zip(sweeps, sweep_results, strict=True):
        results += [((sweep.block, value), metrics) for value, metrics in metrics_by_value]
        values = options.head_method.list_candidate_values(len(sweep.tables.train))
        for value in {*values} - {value for value, _ in metrics_by_value}:
            failures[value].add(sweep.block)
    averages = average_by_key(results, len(folds))
    grid = [Candidate(block, value, *metrics) for (block, value), metrics in averages.items()]

    train = features.tables["train"]
    labels = encode_labels(train.origins, known)
    by_block = (
        rank_candidates([c for c in grid if c.block == block], options.metric) for block in blocks
    )
    rankings = [ranking for ranking in by_block if ranking]
    method = options.head_method
    calls = (
        (method, train.read_block(ranking[0].block), labels, len(known), [c.value for c in ranking])
        for ranking in rankings
    )
    fits = progress(
        run_in_processes(fit_first, calls, jobs=jobs),
        description="Evaluating blocks",
        total=len(rankings),
    )
    test = features.select_test_tables(protocol)
    test_labels = encode_labels(test[0].origins, known)
    block_results: list[BlockResult] = []
    best, selected = None, None
    for ranking, (rank, head) in zip(rankings, fits, strict=True):
        for candidate in ranking[:rank]:
            failures[candidate.value].add(candidate.block)
        if head is None:
            continue
        candidate = ranking[rank]
        outputs = (predict(head.forward(table.read_block(candidate.block))) for table in test)
        (probabilities, scores), (_, unknown_scores) = outputs
        correct = probabilities.argmax(axis=1) == test_labels
        metrics = compute_selection_metrics(scores, correct, unknown_scores)
        block_results.append(BlockResult(*(*astuple(candidate), *metrics)))
        if best is None or select_best([best, candidate], options.metric) is candidate:
            best = candidate
            selected = SelectedHead(
                head, options.head_method.name, candidate.value, (candidate.block,)
            )
    values_and_blocks = _format_failures(options.head_method.parameter, failures)
    if selected is None:
        if not failures:
            raise FitError(NO_CANDIDATE)
        raise ConvergenceError(
            f"the solver did not converge at {values_and_blocks}. {advise_on_convergence()}"
        )
    note = ""
    if failures:
        note = (
            f"the solver did not converge at {values_and_blocks}; these values can't be selected "
            "on these blocks"
        )
        warnings.warn(note, WhichgenWarning, stacklevel=2)
    model = finalize_model(selected, features, encoder, options, config=config)
    model_results = evaluate_model(model, features, protocol, options)
    return FitResult(
        **vars(model_results), grid=tuple(grid), blocks=tuple(block_results), note=note
    )


def _format_failures(parameter: str, failures: Mapping[float, set[int]]) -> str:
    """List values and their blocks, for example ``C = 0.1 (block 0, 1), 10 (block 3)``."""
    blocks = {value: ", ".join(map(str, sorted(failures[value]))) for value in sorted(failures)}
    return f"{parameter} = " + ", ".join(f"{v:g} (block {names})" for v, names in blocks.items())
