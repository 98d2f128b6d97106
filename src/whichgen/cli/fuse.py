"""``whichgen fuse``: beyond the paper, several views and a score of their agreement."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from whichgen.cli.console import progress, show_table
from whichgen.cli.fit import check_leaks, claim, open_run, show_tested, shuffle
from whichgen.cli.options import CHOICE, ENCODER, Request, fitting_command, names
from whichgen.errors import DataError

if TYPE_CHECKING:
    from whichgen.training.fit_fusion import FusionOptions


@fitting_command
def fuse(
    request: Request,
    C: Annotated[
        float | None,
        typer.Option("--C", help="One C instead of the sweep.", rich_help_panel=CHOICE),
    ] = None,
    score: Annotated[
        str,
        typer.Option(
            help="Open-set scores to choose among: NAME,NAME,…",
            show_default="all",
            rich_help_panel=CHOICE,
        ),
    ] = "",
    no_traces: Annotated[
        bool,
        typer.Option(
            "--no-traces",
            help="Without the low-level traces, which are read at native resolution.",
            rich_help_panel=ENCODER,
        ),
    ] = False,
) -> None:
    """Fuse all blocks of one or several encoders with low-level traces; better than one block."""
    from whichgen.report.run_folder import fusion_candidate_rows, write_fusion
    from whichgen.training.controls import Controls
    from whichgen.training.fit_fusion import fuse as run
    from whichgen.training.split_features import FITTED

    request = request if no_traces else with_traces(request)
    options = fusion_options(request, C, score)
    config = request.as_config(options)
    dataset, folder = open_run(request, "fusion", config)
    encoder, parts = request.extract(dataset, copied=FITTED)
    leaks = check_leaks(request, dataset)
    result = run(parts, encoder, options, config=config, progress=progress)
    controls = Controls(leaks, shuffle(request, result, parts, result.head_method))
    claim(folder, request, config)
    write_fusion(result, folder, controls=controls, progress=progress)
    show_table(fusion_candidate_rows(result.members, "members"), title="Which members, %")
    show_table(fusion_candidate_rows(result.scores, "score"), title="Which open-set score, %")
    show_tested(
        result,
        folder,
        f"{dataset.name}, {result.chosen.members} fused, C = {result.chosen.value:g}, shrinkage "
        f"{result.chosen.shrinkage:g}, score "
        f"{result.chosen.score}",
        controls,
    )


def with_traces(request: Request) -> Request:
    """The request with traces joined to its encoder."""
    from whichgen.encoders.names import TRACES, split_members

    if TRACES in split_members(request.backbone):
        return request
    return replace(request, backbone=f"{request.backbone}+{TRACES}")


def fusion_options(request: Request, C: float | None = None, score: str = "") -> FusionOptions:
    """The options of :func:`whichgen.training.fit_fusion.fuse`; one C, and scores, if named."""
    from whichgen.training.fit_fusion import FusionOptions

    if request.blocks:
        raise DataError("a fusion reads all blocks; leave -b out, or use `whichgen linear`.")
    given = FusionOptions(
        metric=request.metric,
        protocol=request.protocol,
        tpr=request.tpr,
        seed=request.source.seed,
        jobs=request.jobs,
        thumbnails=request.thumbnails,
    )
    return replace(
        given,
        values=given.values if C is None else (C,),
        scores=names(score) or given.scores,
    )
