"""``whichgen linear``, ``knn`` and ``fuse``: train, select, evaluate and save a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from typer import Option

from whichgen.cli.command import command
from whichgen.cli.console import progress, say, show_table, warn
from whichgen.cli.results import show_evaluation
from whichgen.cli.training_options import SelectionFlags, TrainOptions
from whichgen.constants import C_SWEEP, K_SWEEP, MAX_ITER
from whichgen.errors import FitError

if TYPE_CHECKING:
    from whichgen.data.dataset import Dataset
    from whichgen.heads.base import HeadMethod, SweepMethod
    from whichgen.training.controls import Controls, ShuffleControl
    from whichgen.training.finalize import EvaluatedModel
    from whichgen.training.shortcuts import ShortcutReport
    from whichgen.training.split_features import SplitFeatures


@dataclass(frozen=True)
class FixedC:
    """One value of C."""

    panel: ClassVar = SelectionFlags.panel

    C: Annotated[float | None, Option("--C", help="One value of C, without a sweep.")] = None


@dataclass(frozen=True)
class CSweep(FixedC):
    """The values of C of a linear probe."""

    c_min: Annotated[float, Option(help="Smallest C, as a power of ten.")] = C_SWEEP[0]
    c_max: Annotated[float, Option(help="Largest C, as a power of ten.")] = C_SWEEP[1]
    c_values: Annotated[int, Option(min=1, help="Number of values of C.")] = C_SWEEP[2]
    max_iter: Annotated[int, Option(min=1, help="Most solver iterations.")] = MAX_ITER


@dataclass(frozen=True)
class KSweep:
    """The values of k of a k-nearest-neighbor classifier."""

    panel: ClassVar = SelectionFlags.panel

    K: Annotated[int | None, Option("--K", help="One value of k, without a sweep.")] = None
    k_min: Annotated[int, Option(min=1, help="Smallest k.")] = K_SWEEP[0]
    k_max: Annotated[int, Option(min=1, help="Largest k.")] = K_SWEEP[1]
    k_values: Annotated[int, Option(min=1, help="Number of values of k.")] = K_SWEEP[2]


#: Columns of the candidate tables of a fusion, shortened to fit 80 columns.
_TEST_COLUMNS = {"test accuracy": "accuracy", "test AUROC": "AUROC", "test OSCR": "OSCR"}


@command
def linear(options: TrainOptions, sweep: CSweep) -> None:
    """Train a linear probe on the best block of the encoder."""
    import numpy as np

    from whichgen.heads.linear import LinearMethod

    low, high = sweep.c_min, sweep.c_max
    if low > high:
        raise FitError(f"--c-min {low:g} is above --c-max {high:g}. Swap or change them.")
    values = np.logspace(low, high, sweep.c_values).tolist() if sweep.C is None else [sweep.C]
    fit_block(LinearMethod(values=tuple(values), max_iter=sweep.max_iter), options, "linear-probe")


@command
def knn(options: TrainOptions, sweep: KSweep) -> None:
    """Train a k-nearest-neighbor classifier on the best block."""
    import numpy as np

    from whichgen.heads.knn import KnnMethod

    low, high = sweep.k_min, sweep.k_max
    if low > high:
        raise FitError(f"--k-min {low} is above --k-max {high}. Swap or change them.")
    values = np.unique(np.linspace(low, high, sweep.k_values).astype(int)).tolist()
    fit_block(KnnMethod(values=tuple(values) if sweep.K is None else (sweep.K,)), options, "knn")


@command
def fuse(
    options: TrainOptions,
    fixed: FixedC,
    scores: Annotated[
        str,
        Option(
            help="Open-set scores to choose from: NAME,NAME,…",
            show_default="all",
            rich_help_panel=SelectionFlags.panel,
        ),
    ] = "",
    no_traces: Annotated[
        bool, Option("--no-traces", help="Omit the residual statistics (traces).")
    ] = False,
) -> None:
    """Train a fusion of all blocks and residual statistics."""
    from whichgen.report.result_tables import fusion_candidate_rows
    from whichgen.report.run_folder import write_fusion
    from whichgen.training.controls import Controls
    from whichgen.training.fit_fusion import fuse as fit_fusion
    from whichgen.training.split_features import FITTING_SPLITS

    if not no_traces:
        options = options.with_traces()
    fusion_options = options.fusion_options(fixed.C, scores)
    config = options.run_config(fusion_options)
    dataset = options.open_dataset()
    folder = options.run_folder("fusion", dataset)
    options.claim_folder(folder, config)
    encoder, features = options.extract_features(dataset, augmented_splits=FITTING_SPLITS)
    shortcuts = run_shortcut_check(options, dataset)
    result = fit_fusion(features, encoder, fusion_options, config=config, progress=progress)
    controls = Controls(shortcuts, shuffle_labels(options, result, features, result.head_method))
    options.claim_folder(folder, config)
    write_fusion(result, folder, controls=controls, progress=progress)
    for candidates, compared in ((result.members, "members"), (result.scores, "score")):
        rows = fusion_candidate_rows(candidates, compared)
        columns = {compared: compared, "val OSCR": "val OSCR", **_TEST_COLUMNS}
        show_table(
            [{title: row[key] for key, title in columns.items()} for row in rows],
            title=f"Candidate {compared.rstrip('s')}s (%)",
        )
    best = result.best
    title = (
        f"{dataset.name}: fusion of {best.members}, C = {best.value:g}, shrinkage = "
        f"{best.shrinkage:g}, score = {best.score}"
    )
    show_result(result, folder, title, controls)


def fit_block(method: SweepMethod, options: TrainOptions, folder_name: str) -> None:
    """Train a head on every block, select one, and write the run's folder."""
    from whichgen.report.run_folder import write_fit
    from whichgen.training.controls import Controls
    from whichgen.training.fit_block import fit

    fit_options = options.fit_options(method)
    config = options.run_config(fit_options)
    dataset = options.open_dataset()
    folder = options.run_folder(folder_name, dataset)
    options.claim_folder(folder, config)
    encoder, features = options.extract_features(dataset, fit_options)
    sweeps = options.cache_dir / "sweeps"
    shortcuts = run_shortcut_check(options, dataset)
    result = fit(features, encoder, fit_options, config=config, cache=sweeps, progress=progress)
    controls = Controls(shortcuts, shuffle_labels(options, result, features, method))
    options.claim_folder(folder, config)
    write_fit(result, folder, controls=controls, progress=progress)
    title = (
        f"{dataset.name}: {method.name} on block {result.block} of {encoder.name}, "
        f"{method.parameter} = {result.model.hyperparameter:.4g}"
    )
    show_result(result, folder, title, controls)


def run_shortcut_check(options: TrainOptions, dataset: Dataset) -> ShortcutReport | None:
    """Run the shortcut check, unless it is off."""
    from whichgen.training.shortcuts import check_shortcuts

    if options.controls.no_shortcut_check:
        return None
    return check_shortcuts(dataset, seed=options.seed, progress=progress)


def shuffle_labels(
    options: TrainOptions, result: EvaluatedModel, features: SplitFeatures, method: HeadMethod
) -> ShuffleControl | None:
    """Run the shuffled-label control, unless it is off; its failure does not lose the result."""
    from whichgen.training.controls import run_label_shuffle

    seeds, jobs = range(options.controls.shuffles), options.jobs or -1
    if not seeds:
        return None
    try:
        return run_label_shuffle(
            result, features, method, seeds=seeds, jobs=jobs, progress=progress
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
