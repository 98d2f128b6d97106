"""``whichgen compare``: is one run better than another, or luckier?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from whichgen.cli.console import guarded, say, show_table, track
from whichgen.errors import DataError

_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "auroc": "AUROC",
    "oscr": "OSCR",
    "tnr_at_tpr95": "TNR@TPR95",
}


@guarded
def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of runs; the first is compared with each other.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write this JSON file, too.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the resamples.")] = 0,
) -> None:
    """Paired tests of runs that were tested on the same images."""
    from whichgen.atomic import write_text
    from whichgen.experiments.compare import compare_runs, read_predictions
    from whichgen.report.tested_report import to_json

    if len(runs) < 2:
        raise DataError("two runs are needed to compare, as in: whichgen compare RUN OTHER.")
    first, *others = [read_predictions(run) for run in runs]
    found = {}
    for other in track(others, description="Comparing", total=len(others)):
        found[str(other.folder)] = compare_runs(first, other, resamples=resamples, seed=seed)
    rows: list[dict[str, Any]] = [
        {
            "less": name if metric == "accuracy" else "",
            "points": _NAMES[metric],
            "difference": f"{100 * c.difference:+.2f}",
            "95 % interval": f"{100 * c.low:+.2f} – {100 * c.high:+.2f}",
            "p": f"{c.p_value:.3f}",
            "McNemar p": "" if c.mcnemar_p is None else f"{c.mcnemar_p:.2g}",
        }
        for name, comparison in found.items()
        for metric, c in comparison.items()
    ]
    drawn = "images" if first.groups is None else "groups of images"
    show_table(rows, title=f"{first.folder}\nPaired bootstrap of {resamples} draws of {drawn}")
    if output:
        record = {
            "first": str(first.folder.resolve()),
            "resamples": resamples,
            "seed": seed,
            "drawn": drawn,
            "comparisons": {
                name: {metric: asdict(c) for metric, c in comparison.items()}
                for name, comparison in found.items()
            },
            "provenance": {
                str(run.folder): run.results.get("provenance") for run in (first, *others)
            },
        }
        write_text(output, to_json(record))
        say(f"The comparison is in {output}")
