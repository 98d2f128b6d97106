"""``whichgen linear``, ``knn`` and ``fuse``: train, select, evaluate and save a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichgen.cli.command import command
from whichgen.cli.console import progress, say, show_table, warn
from whichgen.cli.options import ENCODER, SELECTION
from whichgen.cli.results import show_evaluation
from whichgen.cli.training_options import TrainOptions
from whichgen.constants import C_SWEEP, K_SWEEP, MAX_ITER
from whichgen.errors import FitError

if TYPE_CHECKING:
    from whichgen.data.dataset import Dataset
    from whichgen.heads.base import HeadMethod
    from whichgen.training.controls import Controls, ShuffleControl
    from whichgen.training.finalize import EvaluatedModel
    from whichgen.training.shortcuts import ShortcutReport
    from whichgen.training.split_features import SplitFeatures

FixedC = Annotated[
    float | None,
    typer.Option("--C", help="One value of C, without a sweep.", rich_help_panel=SELECTION),
]


@command
def linear(
    options: TrainOptions,
    C: FixedC = None,
    c_min: Annotated[
        float, typer.Option(help="Smallest C, as a power of ten.", rich_help_panel=SELECTION)
    ] = C_SWEEP[0],
    c_max: Annotated[
        float, typer.Option(help="Largest C, as a power of ten.", rich_help_panel=SELECTION)
    ] = C_SWEEP[1],
    c_values: Annotated[
        int, typer.Option(min=1, help="Number of values of C.", rich_help_panel=SELECTION)
    ] = C_SWEEP[2],
    max_iter: Annotated[
        int, typer.Option(min=1, help="Most solver iterations.", rich_help_panel=SELECTION)
    ] = MAX_ITER,
) -> None:
    """Train a linear probe on the best block of the encoder."""
    import numpy as np

    from whichgen.heads.linear import LinearMethod

    if c_min > c_max:
        raise FitError(f"--c-min {c_min:g} is above --c-max {c_max:g}. Swap or change them.")
    values = [C] if C is not None else np.logspace(c_min, c_max, c_values).tolist()
    fit_block(LinearMethod(values=tuple(values), max_iter=max_iter), options, "linear-probe")


@command
def knn(
    options: TrainOptions,
    K: Annotated[
        int | None,
        typer.Option("--K", help="One value of k, without a sweep.", rich_help_panel=SELECTION),
    ] = None,
    k_min: Annotated[
        int, typer.Option(min=1, help="Smallest k.", rich_help_panel=SELECTION)
    ] = K_SWEEP[0],
    k_max: Annotated[
        int, typer.Option(min=1, help="Largest k.", rich_help_panel=SELECTION)
    ] = K_SWEEP[1],
    k_values: Annotated[
        int, typer.Option(min=1, help="Number of values of k.", rich_help_panel=SELECTION)
    ] = K_SWEEP[2],
) -> None:
    """Train a k-nearest-neighbor classifier on the best block of the encoder."""
    import numpy as np

    from whichgen.heads.knn import KnnMethod

    if k_min > k_max:
        raise FitError(f"--k-min {k_min} is above --k-max {k_max}. Swap or change them.")
    values = np.unique(np.linspace(k_min, k_max, k_values).astype(int)).tolist()
    fit_block(KnnMethod(values=(K,) if K is not None else tuple(values)), options, "knn")


@command
def fuse(
    options: TrainOptions,
    C: FixedC = None,
    scores: Annotated[
        str,
        typer.Option(
            help="Open-set scores to choose from: NAME,NAME,…",
            show_default="all",
            rich_help_panel=SELECTION,
        ),
    ] = "",
    no_traces: Annotated[
        bool,
        typer.Option(
            "--no-traces",
            help="Leave out residual statistics (traces) of the pixels.",
            rich_help_panel=ENCODER,
        ),
    ] = False,
) -> None:
    """Train a fusion of all blocks and residual statistics (most accurate)."""
    from whichgen.report.run_folder import fusion_candidate_rows, write_fusion
    from whichgen.training.controls import Controls
    from whichgen.training.fit_fusion import fuse as fit_fusion
    from whichgen.training.split_features import FITTING_SPLITS

    if not no_traces:
        options = options.with_traces()
    fusion_options = options.fusion_options(C, scores)
    config = options.run_config(fusion_options)
    dataset = options.open_dataset()
    folder = options.run_folder("fusion", dataset)
    options.claim_folder(folder, config)
    encoder, parts = options.extract_features(dataset, augmented_splits=FITTING_SPLITS)
    shortcuts = check_shortcuts(options, dataset)
    result = fit_fusion(parts, encoder, fusion_options, config=config, progress=progress)
    controls = Controls(shortcuts, shuffle_labels(options, result, parts, result.head_method))
    options.claim_folder(folder, config)
    write_fusion(result, folder, controls=controls, progress=progress)
    show_table(fusion_candidate_rows(result.members, "members"), title="Candidate members (%)")
    show_table(fusion_candidate_rows(result.scores, "score"), title="Candidate open-set scores (%)")
    chosen = result.best
    show_result(
        result,
        folder,
        f"{dataset.name}: fusion of {chosen.members}, C = {chosen.value:g}, shrinkage = "
        f"{chosen.shrinkage:g}, score = {chosen.score}",
        controls,
    )


def fit_block(method: HeadMethod, options: TrainOptions, folder_name: str) -> None:
    """Train a head on every block, select one, and write the run's folder."""
    from whichgen.report.run_folder import write_fit
    from whichgen.training.controls import Controls
    from whichgen.training.fit_block import fit

    fit_options = options.fit_options(method)
    config = options.run_config(fit_options)
    dataset = options.open_dataset()
    folder = options.run_folder(folder_name, dataset)
    options.claim_folder(folder, config)
    encoder, parts = options.extract_features(dataset, fit_options)
    shortcuts = check_shortcuts(options, dataset)
    result = fit(
        parts,
        encoder,
        fit_options,
        config=config,
        cache=options.cache_dir / "sweeps",
        progress=progress,
    )
    controls = Controls(shortcuts, shuffle_labels(options, result, parts, method))
    options.claim_folder(folder, config)
    write_fit(result, folder, controls=controls, progress=progress)
    show_result(
        result,
        folder,
        f"{dataset.name}: {method.name} on block {result.block} of {encoder.name}, "
        f"{method.parameter} = {result.model.value:.4g}",
        controls,
    )


def check_shortcuts(options: TrainOptions, dataset: Dataset) -> ShortcutReport | None:
    """Run the shortcut check before training, unless it is off."""
    from whichgen.training.shortcuts import check_shortcuts

    if options.no_shortcut_check:
        return None
    return check_shortcuts(dataset, seed=options.seed, progress=progress)


def shuffle_labels(
    options: TrainOptions, result: EvaluatedModel, parts: SplitFeatures, method: HeadMethod
) -> ShuffleControl | None:
    """Run the shuffled-label control, unless it is off; its failure does not lose the result."""
    from whichgen.training.controls import run_label_shuffle

    if not options.shuffles:
        return None
    try:
        return run_label_shuffle(
            result,
            parts,
            method,
            seeds=range(options.shuffles),
            jobs=options.jobs or -1,
            progress=progress,
        )
    except FitError as error:
        warn(f"The shuffled-label control failed and is not in the report: {error}")
        return None


def show_result(result: EvaluatedModel, folder: Path, title: str, controls: Controls) -> None:
    """Print the figures of a run with its caveats, and where its files are."""
    from whichgen.report.result_tables import SHUFFLE_WARNING

    show_evaluation(result.evaluation, title, result.intervals)
    for note in result.protocol.notes:
        (warn if result.protocol.name == "paper" else say)(f"note: {note}")
    if not len(result.unknown):
        warn(
            "No unknown test images: only closed-set figures are available. Hold origins out with "
            "--unknown."
        )
    if controls.shortcuts and controls.shortcuts.detected:
        warn(controls.shortcuts.message)
    if controls.shuffle and controls.shuffle.suspicious:
        warn(SHUFFLE_WARNING)
    say(f"Run folder: {folder} (report.md, results.json, plots/, model/)")
