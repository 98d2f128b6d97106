"""``whichgen linear``, ``knn`` and ``fuse``: train, select, evaluate and save a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from typer import Option

from whichgen.cli.command import resumable_command
from whichgen.cli.shared_options import split_names
from whichgen.cli.training_options import SelectionFlags, TrainOptions
from whichgen.defaults import C_SWEEP, K_SWEEP, MAX_ITER


@dataclass(frozen=True)
class FixedC:
    """Option for a fixed inverse regularization strength C."""

    panel: ClassVar = SelectionFlags.panel

    C: Annotated[
        float | None,
        Option("--C", help="Fixed C (inverse regularization strength) instead of a sweep."),
    ] = None


@dataclass(frozen=True)
class CSweep(FixedC):
    """Options for a linear probe: the sweep over C, or a fixed C, and the solver."""

    c_min: Annotated[float, Option(help="Smallest log10(C).")] = C_SWEEP[0]
    c_max: Annotated[float, Option(help="Largest log10(C).")] = C_SWEEP[1]
    c_values: Annotated[int, Option(min=1, help="Number of C values.")] = C_SWEEP[2]
    max_iter: Annotated[int, Option(min=1, help="Maximum number of solver iterations.")] = MAX_ITER


@dataclass(frozen=True)
class KSweep:
    """Options for a k-nearest-neighbor classifier: the sweep over k, or a fixed k."""

    panel: ClassVar = SelectionFlags.panel

    K: Annotated[
        int | None, Option("--K", help="Fixed k (number of neighbors) instead of a sweep.")
    ] = None
    k_min: Annotated[int, Option(min=1, help="Smallest k.")] = K_SWEEP[0]
    k_max: Annotated[int, Option(min=1, help="Largest k.")] = K_SWEEP[1]
    k_values: Annotated[int, Option(min=1, help="Maximum number of k values.")] = K_SWEEP[2]


@resumable_command
def linear(options: TrainOptions, sweep: CSweep) -> None:
    """Train a linear probe on the best block of the encoder."""
    import numpy as np

    from whichgen.cli.training_run import build_fit_options, train
    from whichgen.heads.linear import LinearMethod

    low, high = sorted((sweep.c_min, sweep.c_max))
    values = np.logspace(low, high, sweep.c_values).tolist() if sweep.C is None else [sweep.C]
    method = LinearMethod(values=tuple(values), max_iter=sweep.max_iter)
    train(options, build_fit_options(options, method), "linear-probe")


@resumable_command
def knn(options: TrainOptions, sweep: KSweep) -> None:
    """Train a k-nearest-neighbor classifier on the best block of the encoder."""
    import numpy as np

    from whichgen.cli.training_run import build_fit_options, train
    from whichgen.heads.knn import KnnMethod

    values = np.unique(np.linspace(sweep.k_min, sweep.k_max, sweep.k_values).astype(int)).tolist()
    method = KnnMethod(values=tuple(values) if sweep.K is None else (sweep.K,))
    train(options, build_fit_options(options, method), "knn")


@resumable_command
def fuse(
    options: TrainOptions,
    fixed: FixedC,
    scores: Annotated[
        str,
        Option(
            help="Candidate open-set scores: NAME,NAME,…",
            show_default="all",
            rich_help_panel=SelectionFlags.panel,
        ),
    ] = "",
    no_traces: Annotated[
        bool, Option("--no-traces", help="Do not add residual statistics (traces) to --backbone.")
    ] = False,
) -> None:
    """Train a fusion of linear probes on all blocks of the encoder and residual statistics."""
    from whichgen.cli.training_run import add_traces, build_fit_options, train

    settings: dict[str, Any] = {}
    if fixed.C is not None:
        settings["values"] = (fixed.C,)
    if scores:
        settings["scores"] = split_names(scores)
    if not no_traces:
        options = add_traces(options)
    train(options, build_fit_options(options, **settings), "fusion")
