"""Measure how augmented training changes the metrics on perturbed and on unmodified images.

    python benchmarks/robust.py --shared ../shared/images --out benchmarks/claims

The paper's method and fusion are fitted with and without augmented training: one perturbed copy of
each training image per kind of perturbation, and in fusion an expert for each kind. They are tested
on images with each kind at five intensities, from which augmented training also draws, and at
intensities that do not occur in training. The table contains means over intensities and choices of
unknown generators. Models and metrics are saved in ``--out``; later runs measure only missing ones.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean

from cells import METHODS, Cell, run_cell
from claims import ENCODER, PACK, SHARED, make_dataset_options

from whichgen.data.dataset_options import DatasetOptions
from whichgen.data.images.perturbations import INTENSITIES, Perturbation, list_perturbations
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.experiments.robustness import evaluate_perturbation
from whichgen.features.store import FeatureStore
from whichgen.io.atomic_writes import write_text
from whichgen.io.result_files import Row, format_markdown_table, write_csv
from whichgen.models.saved_model import load_model

#: Intensities that do not occur in augmented training; their rows are named ``KIND, unseen``.
UNSEEN = {
    "jpeg": (90, 50, 34),
    "blur": (7, 13),
    "crop": (10, 25),
    "resize": (192, 450),
}

#: Titles of the metrics in the table.
METRICS = {"accuracy": "accuracy", "auroc": "AUROC", "oscr": "OSCR"}

#: Metrics of a cell, in [0, 1], by perturbation (``none`` for unmodified images) and name.
Points = dict[str, dict[str, float]]


def measure_perturbations(
    cell: Cell, source: DatasetOptions, encoder: Encoder, cache: Path, out: Path
) -> Points:
    """Return the metrics of a cell for all perturbations; measure and save missing ones.

    ``source`` are the options of the dataset.
    """
    run_cell(cell, source, encoder, cache, out)
    model = load_model(out / "models" / cell.name)
    store = FeatureStore(cache / "features", encoder)
    all_points: Points = {}
    standard = [None, *list_perturbations()]
    unseen = [Perturbation(kind, value) for kind, values in UNSEEN.items() for value in values]
    for title, perturbations in (("robust", standard), ("unseen", unseen)):
        file = out / f"{cell.name}.{title}.json"
        if not file.is_file():
            dataset = source.open(cache)
            points = {}
            for perturbation in perturbations:
                result = evaluate_perturbation(
                    model, dataset, encoder, store, perturbation=perturbation
                )
                points[str(perturbation or "none")] = {
                    metric: result.test.metrics[metric] for metric in METRICS
                } | {"kept": result.test.acceptance_rate}
            record = {"run_metadata": dict(model.run_metadata), "points": points}
            write_text(file, json.dumps(record))
        all_points |= json.loads(file.read_text("utf-8"))["points"]
    return all_points


def make_rows(points_by_method: dict[str, list[Points]]) -> list[Row]:
    """Return one row per kind and method: means over intensities and choices, in percent."""
    names_by_title = {"none": {"none"}}
    names_by_title |= {kind: {str(p) for p in list_perturbations([kind])} for kind in INTENSITIES}
    names_by_title |= {
        f"{kind}, unseen": {str(Perturbation(kind, value)) for value in values}
        for kind, values in UNSEEN.items()
    }
    rows: list[Row] = []
    for title, names in names_by_title.items():
        for method, choices in points_by_method.items():
            points = [choice[name] for choice in choices for name in names]
            rows.append(
                {
                    "perturbation": title,
                    "method": method,
                    **{
                        label: f"{100 * fmean(point[metric] for point in points):.1f}"
                        for metric, label in (METRICS | {"kept": "known accepted"}).items()
                    },
                }
            )
    return rows


def main() -> None:
    """Measure what is missing, and write ``robust-DATA.md`` and ``robust-DATA.csv``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--shared", type=Path, help="folder of the shared images; omit for the demo"
    )
    parser.add_argument("--pack", type=Path, default=Path("demo/images"), help="demo images")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/claims"))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "whichgen")
    parser.add_argument("--choices", nargs="+", help="choices of unknown generators")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    arguments = parser.parse_args()
    data = "shared" if arguments.shared else "pack"
    folders = {data: arguments.shared or arguments.pack}
    points_by_method: dict[str, list[Points]] = {}
    for method in arguments.methods:
        encoder = load_encoder(ENCODER + METHODS[method][0], device="auto", dtype="float32")
        for choice in arguments.choices or (SHARED if arguments.shared else PACK):
            cell = Cell(data, choice, method, 0)
            source = make_dataset_options(cell, folders)
            points = measure_perturbations(cell, source, encoder, arguments.cache, arguments.out)
            points_by_method.setdefault(method, []).append(points)
            print(method, choice, points["none"], flush=True)
    rows = make_rows(points_by_method)
    write_csv(arguments.out / f"robust-{data}.csv", rows)
    write_text(
        arguments.out / f"robust-{data}.md", f"# Robustness\n\n{format_markdown_table(rows)}"
    )
    print(format_markdown_table(rows))


if __name__ == "__main__":
    main()
