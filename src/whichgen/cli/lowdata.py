"""``whichgen lowdata``: how few images are enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from whichgen.cli.console import progress, say, show_table
from whichgen.cli.fit import knn_family, linear_family
from whichgen.cli.fuse import fusion_options, with_traces
from whichgen.cli.options import Request, fitting_command, names, writable
from whichgen.errors import DataError

if TYPE_CHECKING:
    from whichgen.heads.base import HeadMethod
    from whichgen.training.fit_block import FitOptions
    from whichgen.training.fit_fusion import FusionOptions


@fitting_command
def lowdata(
    request: Request,
    head: Annotated[str, typer.Option(help="linear, knn or fusion.")] = "linear",
    shots: Annotated[
        str,
        typer.Option(
            help="Training images a class: N,N,… Those are fitted that every origin has.",
            show_default="1, 2, 5, 10, 20 and so on to 4000",
        ),
    ] = "1,2,5,10,20,50,100,200,500,1000,2000,4000",
    seeds: Annotated[int, typer.Option(min=1, help="Draws for each number of images.")] = 5,
) -> None:
    """Repeat the fit on few images a class, over several draws."""
    from whichgen.experiments.low_data import low_data
    from whichgen.io.run_metadata import provenance
    from whichgen.report.experiment_reports import low_data_rows, write_low_data

    try:
        numbers = [int(n) for n in names(shots)]
    except ValueError:
        raise DataError(f"--shots {shots!r}: expected whole numbers, as in 1,10,100.") from None
    options: FitOptions | FusionOptions
    if head == "fusion":
        request = with_traces(request)
        options = fusion_options(request)
        config, checked = request.as_config(options), None
    else:
        method = _method(head)
        options = checked = request.fit_options(method)
        config = request.as_config(method)
    dataset = request.source.open(request.cache, progress=progress)
    folder = writable(request.run_folder("lowdata", dataset))
    encoder, parts = request.extract(dataset, checked)
    points = list(
        low_data(
            parts,
            encoder,
            options,
            shots=numbers,
            seeds=range(seeds),
            cache=request.cache / "sweeps",
            progress=progress,
        )
    )
    record = provenance(
        {**config, "shots": numbers},
        seeds={"seed": request.source.seed, "draws": seeds},
        encoder=encoder.describe(),
        data_hash=parts.data_hash,
    )
    write_low_data(points, record, folder)
    show_table(low_data_rows(points), title=f"{dataset.name}: {head} head on few images")
    say(f"Everything is in {folder}")


def _method(head: str) -> HeadMethod:
    from whichgen.heads.methods import head_method

    if head == "linear":
        return linear_family(None, -6, 5, 45, 1000)
    return knn_family(None, 1, 20, 20) if head == "knn" else head_method(head)
