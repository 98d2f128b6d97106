"""What robust training brings under perturbations, and what it costs on clean images.

    python benchmarks/robust.py --shared ../shared/images --out benchmarks/claims

The paper's method and fusion, each fitted on the images as they are and with a perturbed copy of
each kind beside every training image, tested on images put through each kind at each of its five
intensities (none of the draws of training are known to the test). A figure is the mean over the
five, the area under the curve over intensities; the table holds its mean over choices of unknown
generators. Models and figures are kept in ``--out``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean

from cells import METHODS, Cell, run_cell
from claims import ENCODER, PACK, SHARED, source_of

from whichgen.atomic import write_text
from whichgen.attribution.model import load_model
from whichgen.data.perturb import INTENSITIES
from whichgen.data.source import DataSource
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.load import load_encoder
from whichgen.experiments.robustness import figure_of, robustness
from whichgen.features.store import FeatureStore
from whichgen.report.tables import Row, markdown_table, write_csv

METRICS = {"accuracy": "accuracy", "auroc": "AUROC", "oscr": "OSCR"}


def curve(
    cell: Cell, source: DataSource, encoder: Encoder, cache: Path, out: Path
) -> dict[str, dict[str, float]]:
    """For each perturbation (``none``: the image as it is) a cell's figures, in [0, 1]."""
    file = out / f"{cell.name}.robust.json"
    if not file.is_file():
        run_cell(cell, source, encoder, cache, out)
        model = load_model(out / "models" / cell.name)
        store = FeatureStore(cache / "features", encoder)
        points = robustness(model, source.open(cache), encoder, store)
        found = {
            str(point.perturbation or "none"): {
                metric: figure_of(point.evaluation, metric) for metric in METRICS
            }
            for point in points
        }
        write_text(file, json.dumps({"provenance": dict(model.provenance), "points": found}))
    points_of: dict[str, dict[str, float]] = json.loads(file.read_text("utf-8"))["points"]
    return points_of


def rows_of(curves: dict[str, list[dict[str, dict[str, float]]]]) -> list[Row]:
    """A row for each kind and method: means over intensities and choices, in percent."""
    rows: list[Row] = []
    for kind in ("none", *INTENSITIES):
        for method, of_method in curves.items():
            chosen = [
                figures
                for points in of_method
                for name, figures in points.items()
                if name.partition(":")[0] == kind
            ]
            rows.append(
                {
                    "perturbation": kind,
                    "method": method,
                    **{
                        title: f"{100 * fmean(figures[metric] for figures in chosen):.1f}"
                        for metric, title in METRICS.items()
                    },
                }
            )
    return rows


def main() -> None:
    """Measures what is missing, then writes ``robust.md`` and ``robust.csv``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shared", type=Path, help="the shared images; left out: the pack")
    parser.add_argument("--pack", type=Path, default=Path("demo/images"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/claims"))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "whichgen")
    parser.add_argument("--choices", nargs="+")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    given = parser.parse_args()
    data = "shared" if given.shared else "pack"
    folders = {data: given.shared or given.pack}
    curves: dict[str, list[dict[str, dict[str, float]]]] = {}
    for method in given.methods:
        encoder = load_encoder(ENCODER + METHODS[method][0], device="auto", dtype="float32")
        for choice in given.choices or (SHARED if given.shared else PACK):
            cell = Cell(data, choice, method, 0)
            source = source_of(cell, folders)
            found = curve(cell, source, encoder, given.cache, given.out)
            curves.setdefault(method, []).append(found)
            print(method, choice, found["none"], flush=True)
    rows = rows_of(curves)
    write_csv(given.out / f"robust-{data}.csv", rows)
    write_text(given.out / f"robust-{data}.md", f"# Robustness\n\n{markdown_table(rows)}")
    print(markdown_table(rows))


if __name__ == "__main__":
    main()
