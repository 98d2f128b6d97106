"""``whichgen linear`` and ``whichgen knn``: fit, choose, evaluate, save."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichgen.cli.console import progress, say, show_table, warn
from whichgen.cli.options import CHOICE, Request, fitting_command, writable
from whichgen.errors import DataError, FitError
from whichgen.io.run_metadata import moment

if TYPE_CHECKING:
    from whichgen.data.dataset import Dataset
    from whichgen.evaluation.evaluate import Evaluation
    from whichgen.heads.base import HeadMethod
    from whichgen.training.controls import Controls, ShuffleControl
    from whichgen.training.finalize import Tested
    from whichgen.training.shortcuts import LeakReport
    from whichgen.training.split_features import Parts

FixedC = Annotated[
    float | None, typer.Option("--C", help="One C instead of the sweep.", rich_help_panel=CHOICE)
]
MinC = Annotated[
    float,
    typer.Option("--c_min", help="Smallest C, as a power of ten.", rich_help_panel=CHOICE),
]
MaxC = Annotated[
    float, typer.Option("--c_max", help="Largest C, as a power of ten.", rich_help_panel=CHOICE)
]
StepsC = Annotated[
    int, typer.Option("--c_step", min=1, help="How many values of C.", rich_help_panel=CHOICE)
]
MaxIter = Annotated[
    int,
    typer.Option(
        "--max_train_iters",
        min=1,
        help="Solver steps before it is an error.",
        rich_help_panel=CHOICE,
    ),
]
FixedK = Annotated[
    int | None, typer.Option("--K", help="One k instead of the sweep.", rich_help_panel=CHOICE)
]
MinK = Annotated[int, typer.Option("--k_min", min=1, help="Smallest k.", rich_help_panel=CHOICE)]
MaxK = Annotated[int, typer.Option("--k_max", min=1, help="Largest k.", rich_help_panel=CHOICE)]
StepsK = Annotated[
    int, typer.Option("--k_step", min=1, help="How many values of k.", rich_help_panel=CHOICE)
]


@fitting_command
def linear(
    request: Request,
    C: FixedC = None,
    c_min: MinC = -6,
    c_max: MaxC = 5,
    c_step: StepsC = 45,
    max_train_iters: MaxIter = 1000,
) -> None:
    """Linear probe: fit on every block, choose block and C, evaluate, save the model."""
    run_fit(linear_family(C, c_min, c_max, c_step, max_train_iters), request, "linear-probe")


@fitting_command
def knn(
    request: Request,
    K: FixedK = None,
    k_min: MinK = 1,
    k_max: MaxK = 20,
    k_step: StepsK = 20,
) -> None:
    """k nearest neighbors: fit on every block, choose block and k, evaluate, save the model."""
    run_fit(knn_family(K, k_min, k_max, k_step), request, "knn")


def linear_family(
    C: float | None,
    c_min: float,
    c_max: float,
    c_step: int,
    max_iter: int,
) -> HeadMethod:
    """The linear probe over ``c_step`` values from 10^c_min to 10^c_max, or over ``C`` alone."""
    import numpy as np

    from whichgen.heads.linear import LinearMethod

    if c_min > c_max:
        raise FitError(f"--c_min {c_min:g} is over --c_max {c_max:g}.")
    values = [C] if C is not None else np.logspace(c_min, c_max, c_step).tolist()
    return LinearMethod(values=tuple(values), max_iter=max_iter)


def knn_family(
    K: int | None,
    k_min: int,
    k_max: int,
    k_step: int,
) -> HeadMethod:
    """k-NN over ``k_step`` evenly spaced values from k_min to k_max, or over ``K`` alone."""
    import numpy as np

    from whichgen.heads.knn import KnnMethod

    if k_min > k_max:
        raise FitError(f"--k_min {k_min} is over --k_max {k_max}.")
    spaced = np.unique(np.linspace(k_min, k_max, k_step).astype(int)).tolist()
    return KnnMethod(values=(K,) if K is not None else tuple(spaced))


def run_fit(head_method: HeadMethod, request: Request, kind: str) -> None:
    """The main job, from images to a folder of results."""
    from whichgen.report.run_folder import write_fit
    from whichgen.training.controls import Controls
    from whichgen.training.fit_block import fit

    options = request.fit_options(head_method)
    config = request.as_config(head_method)
    dataset, folder = open_run(request, kind, config)
    encoder, parts = request.extract(dataset, options)
    leaks = check_leaks(request, dataset)
    result = fit(
        parts,
        encoder,
        options,
        config=config,
        cache=request.cache / "sweeps",
        progress=progress,
    )
    controls = Controls(leaks, shuffle(request, result, parts, head_method))
    claim(folder, request, config)
    write_fit(result, folder, controls=controls, progress=progress)
    show_tested(
        result,
        folder,
        f"{dataset.name}, {head_method.name} head on block {result.block} of "
        f"{encoder.name}, {head_method.parameter} = {result.model.value:.4g}",
        controls,
    )


def check_leaks(request: Request, dataset: Dataset) -> LeakReport | None:
    """The leak check, unless it is switched off. Before the fit: it reads every file."""
    from whichgen.training.shortcuts import leak_check

    return (
        leak_check(dataset, seed=request.source.seed, progress=progress)
        if request.leak_check
        else None
    )


def shuffle(
    request: Request, result: Tested, parts: Parts, head_method: HeadMethod
) -> ShuffleControl | None:
    """The label-shuffle control, unless it is switched off."""
    from whichgen.training.controls import label_shuffle

    if not request.shuffles:
        return None
    try:
        return label_shuffle(
            result,
            parts,
            head_method,
            seeds=range(request.shuffles),
            jobs=request.jobs,
            progress=progress,
        )
    except FitError as error:
        # A control that fails must not take the result with it.
        warn(f"no shuffled labels in the report: {error}")
        return None


def open_run(request: Request, kind: str, config: dict[str, Any]) -> tuple[Dataset, Path]:
    """The data set, and the folder for results: made, and not one of other settings."""
    dataset = request.source.open(request.cache, progress=progress)
    folder = request.run_folder(kind, dataset)
    claim(folder, request, config)
    for note in dataset.notes:
        say(f"note: {note}")
    return dataset, folder


def show_tested(result: Tested, folder: Path, title: str, controls: Controls) -> None:
    """The headline figures with their caveats, and where everything is."""
    from whichgen.report.result_tables import SHUFFLE_WARNING, headline_rows

    show_table(headline_rows(result.evaluation, result.intervals), title=title)
    show_unknown(result.evaluation)
    for note in result.protocol.notes:
        (warn if result.protocol.name == "paper" else say)(f"note: {note}")
    if not len(result.unknown):
        warn(
            "there are no unknown test images: only closed-set figures. Name origins to hold out "
            "with --unknown."
        )
    if controls.leaks and controls.leaks.leaks:
        warn(controls.leaks.verdict)
    if controls.shuffle and controls.shuffle.suspicious:
        warn(SHUFFLE_WARNING)
    say(f"Everything is in {folder}: report.md, results.json, plots/, model/")


def show_unknown(evaluation: Evaluation) -> None:
    """The table of unknown generators, as many columns as a terminal has room for."""
    from whichgen.report.result_tables import unknown_generator_row

    columns = ("unknown", "images", "AUROC", "OSCR", "rejected", "mostly taken for", "share")
    rows = [unknown_generator_row(r) for r in (*evaluation.unknown, *evaluation.groups)]
    show_table([{c: row[c] for c in columns} for row in rows], title="Unknown generators, %")


def claim(folder: Path, request: Request, config: dict[str, Any]) -> None:
    """Makes the folder for results; :class:`DataError` if it holds a run of other settings.

    Before the work and, because another command may have been at the same folder meanwhile, before
    the results are written.
    """
    # Now: a place that can't be written is told before hours of work, not after. So is
    # SOURCE_DATE_EPOCH if it is no time.
    writable(folder).mkdir(parents=True, exist_ok=True)
    moment()
    file = folder / "results.json"
    if request.force or not file.is_file():
        return
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))["provenance"]["config"]
    except (ValueError, KeyError, TypeError):
        return
    changed = [k for k, v in json.loads(json.dumps(config)).items() if kept.get(k) != v]
    if changed:
        raise DataError(
            f"{folder} holds a run of other settings ({', '.join(changed)} differ). Choose another "
            "folder with -o, or add --force to overwrite it."
        )
