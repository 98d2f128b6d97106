"""``whichgen report``: write an HTML page of one or several runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from whichgen.cli.command import command
from whichgen.cli.console import say, show_progress, warn
from whichgen.cli.shared_options import OutputDir, check_writable


@command
def report(
    runs: Annotated[list[Path], Argument(help="Run folders; several are shown side by side.")],
    output_dir: Annotated[
        Path | None,
        OutputDir(help="Folder for report.html.", show_default="the run folder; ./ for several"),
    ] = None,
    low_data: Annotated[
        Path | None, Option(help="Include the `whichgen low-data` results from this folder.")
    ] = None,
    no_images: Annotated[
        bool, Option("--no-images", help="Omit test images from the page.")
    ] = False,
) -> None:
    """Write a self-contained HTML page of one run, or several side by side."""
    from whichgen.report.html_page import write_html_page
    from whichgen.report.run_reader import read_low_data, read_run

    folder = check_writable(output_dir or (runs[0] if len(runs) == 1 else Path()))
    pages = [read_run(run) for run in runs]
    points = read_low_data(low_data) if low_data else ()
    file = folder / "report.html"
    thumbnails = write_html_page(
        pages, file, low_data=points, images=not no_images, progress=show_progress
    )
    if thumbnails.missing:
        warn(
            "Missing or unreadable test images omitted from the page: "
            f"{len(thumbnails.missing)}. To include them, restore the files and rerun the command."
        )
    say(f"Report: {file} ({file.stat().st_size / 2**20:.1f} MiB)")
