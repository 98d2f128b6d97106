"""``whichgen report``: an experiment as one HTML file to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whichgen.cli.console import guarded, needs_extra, progress, say


@guarded
def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of runs; several stand side by side.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="The HTML file. Default: report.html in the run's folder; here, if several.",
        ),
    ] = None,
    lowdata: Annotated[
        Path | None, typer.Option(help="A folder of `whichgen lowdata`, to show its curves, too.")
    ] = None,
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Leave test images out: they may be private.")
    ] = False,
) -> None:
    """One self-contained HTML page of a run, or of several side by side."""
    from whichgen.report.run_reader import read_low_data, read_run

    found = [read_run(run) for run in runs]
    few = read_low_data(lowdata) if lowdata else ()
    with needs_extra("report"):
        from whichgen.report.html_page import write_html_page
    file = output or (runs[0] if len(runs) == 1 else Path()) / "report.html"
    pictures = write_html_page(found, file, lowdata=few, images=not no_images, progress=progress)
    if pictures.gone:
        say(f"{len(pictures.gone)} images can't be read any more and are left out.")
    say(f"The page is {file} ({file.stat().st_size / 2**20:.1f} MB)")
