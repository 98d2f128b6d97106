"""``whichgen compare``: compare runs with paired bootstrap tests."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from whichgen.cli.command import command
from whichgen.cli.console import say, show_progress, show_table
from whichgen.cli.shared_options import OutputDir, Seed, check_writable
from whichgen.defaults import RESAMPLES
from whichgen.errors import DataError
from whichgen.phrases import format_count

if TYPE_CHECKING:
    from whichgen.evaluation.paired_comparison import Comparison


@command
def compare(
    runs: Annotated[
        list[Path], Argument(help="Run folders; the first is compared with each of the others.")
    ],
    output_dir: Annotated[Path | None, OutputDir(help="Folder for comparison.json.")] = None,
    resamples: Annotated[int, Option(min=1, help="Number of bootstrap resamples.")] = RESAMPLES,
    seed: Seed = 0,
) -> None:
    """Compare runs on the same test images with paired bootstrap tests."""
    from whichgen.evaluation.predictions import Predictions
    from whichgen.experiments.run_comparison import compare_runs, read_run_predictions
    from whichgen.io.result_files import write_json
    from whichgen.io.run_metadata import collect_run_metadata

    if len(runs) < 2:
        raise DataError("compare needs at least two run folders, got 1. Add another run folder.")
    if output_dir:
        check_writable(output_dir)
    first, *other_runs = map(read_run_predictions, runs)
    comparisons = {
        str(other.folder): compare_runs(first, other, resamples=resamples, seed=seed)
        for other in show_progress(other_runs, description="Comparing", total=len(other_runs))
    }
    unit = first.predictions[0].unit_name
    if unit == "sources":
        units = Predictions.concatenate(first.predictions).units
        unit = format_count(len(set(units.tolist())), "source")  # type: ignore[union-attr]
    for name, comparison in comparisons.items():
        show_table(
            [format_comparison(c) for c in comparison.values()],
            title=f"A: {first.folder}\nB: {name}",
            caption=f"metrics in %; paired bootstrap over {unit}, {resamples} resamples",
        )
    if output_dir:
        records = {
            str(run.folder): run.results.get("run_metadata", {}) for run in (first, *other_runs)
        }
        record = {
            "first": str(first.folder),
            "drawn": dict.fromkeys(comparisons, unit),
            "comparisons": comparisons,
            "run_metadata": collect_run_metadata(
                {"runs": [str(run.resolve()) for run in runs], "resamples": resamples},
                seeds={"seed": seed},
                encoder={},
                data_hash=str(records[str(first.folder)].get("data_hash", "")),
            ),
            "runs": records,
        }
        write_json(output_dir / "comparison.json", record)
        say(f"Comparison: {output_dir / 'comparison.json'}")


def format_comparison(comparison: Comparison) -> dict[str, str]:
    """Format the comparison of one metric as a table row, in percent except for the p-value.

    If the bounds of the interval are NaN, the interval is ``none``, and the p-value is empty.
    """
    from whichgen.evaluation.answer_metrics import ANSWER_TITLES
    from whichgen.evaluation.headline_metrics import METRIC_TITLES

    has_interval = not isnan(comparison.low)
    return {
        "metric": (METRIC_TITLES | ANSWER_TITLES)[comparison.metric],
        "A": f"{100 * comparison.first:.1f}",
        "B": f"{100 * comparison.second:.1f}",
        "A - B": f"{100 * comparison.difference:+.1f}",
        "95 % interval": (
            f"{100 * comparison.low:+.1f} – {100 * comparison.high:+.1f}"
            if has_interval
            else "none"
        ),
        "p": f"{comparison.p_value:.3f}" if has_interval else "",
    }
