"""``whichgen compare``: is one run better than another, or luckier?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichgen.cli.console import guarded, progress, say, show_table
from whichgen.errors import DataError

if TYPE_CHECKING:
    from whichgen.evaluation.bootstrap import Comparison

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
    from whichgen.experiments.comparison import compare_runs, read_predictions
    from whichgen.io.atomic import write_text
    from whichgen.io.run_metadata import provenance
    from whichgen.report.result_tables import to_json

    if len(runs) < 2:
        raise DataError("two runs are needed to compare, as in: whichgen compare RUN OTHER.")
    first, *others = [read_predictions(run) for run in runs]
    found = {}
    for other in progress(others, description="Comparing", total=len(others)):
        found[str(other.folder)] = compare_runs(first, other, resamples=resamples, seed=seed)
    drawn = {
        str(other.folder): "groups of images" if first.groups or other.groups else "images"
        for other in others
    }
    for name, comparison in found.items():
        show_table(
            [_row(c) for c in comparison.values()],
            title=f"first: {first.folder}\nsecond: {name}\nin percent; paired bootstrap of "
            f"{resamples} draws of {drawn[name]}",
        )
    if output:
        of_runs = {str(run.folder): run.results.get("provenance", {}) for run in (first, *others)}
        record = {
            "first": str(first.folder),
            "drawn": drawn,
            "comparisons": {
                name: {metric: asdict(c) for metric, c in comparison.items()}
                for name, comparison in found.items()
            },
            "provenance": provenance(
                {"runs": [str(run.resolve()) for run in runs], "resamples": resamples},
                seeds={"seed": seed},
                encoder={},
                data_hash=str(of_runs[str(first.folder)].get("data_hash", "")),
            ),
            "runs": of_runs,
        }
        write_text(output, to_json(record))
        say(f"The comparison is in {output}")


def _row(found: Comparison) -> dict[str, str]:
    return {
        "": _NAMES[found.metric],
        "first": f"{100 * found.first:.2f}",
        "second": f"{100 * found.second:.2f}",
        "difference": f"{100 * found.difference:+.2f}",
        "95 % interval": f"{100 * found.low:+.2f} – {100 * found.high:+.2f}",
        "p": f"{found.p_value:.3f}",
    }
