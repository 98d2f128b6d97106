"""What robust training brings under perturbations, and what it costs on clean images.

    python benchmarks/robust.py --shared ../shared/images --out benchmarks/claims

The paper's method and fusion, each fitted on the images as they are and with a perturbed copy of
each kind beside every training image (of fusion, with an expert for each kind), tested on images
put through each kind at each of its five intensities, from which training draws, too, and at ones
that training never had. A figure is the mean over intensities; the table holds its mean over
choices of unknown generators. Models and figures are kept in ``--out``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean

from cells import METHODS, Cell, run_cell
from claims import ENCODER, PACK, SHARED, source_of

from whichgen.data.dataset_options import DatasetOptions
from whichgen.data.images.perturbations import INTENSITIES, Perturbation, list_perturbations
from whichgen.encoders.base import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.experiments.robustness import evaluate_perturbation
from whichgen.features.store import FeatureStore
from whichgen.io.atomic import write_text
from whichgen.io.result_files import Row, markdown_table, write_csv
from whichgen.models.saved_model import load_model

#: Intensities that training does not draw: rows of their own, ``…, unseen``.
UNSEEN = {
    "jpeg": (90, 50, 34),
    "blur": (7, 13),
    "crop": (10, 25),
    "resize": (192, 450),
}

METRICS = {"accuracy": "accuracy", "auroc": "AUROC", "oscr": "OSCR"}


#: A cell's figures, in [0, 1], by perturbation (``none``: the image as it is).
Points = dict[str, dict[str, float]]


def curve(cell: Cell, source: DatasetOptions, encoder: Encoder, cache: Path, out: Path) -> Points:
    """The figures of a cell: each kind at its five intensities, then the unseen ones."""
    run_cell(cell, source, encoder, cache, out)
    model = load_model(out / "models" / cell.name)
    store = FeatureStore(cache / "features", encoder)
    found: Points = {}
    seen = [None, *list_perturbations()]
    unseen = [Perturbation(kind, value) for kind, values in UNSEEN.items() for value in values]
    for title, perturbations in (("robust", seen), ("unseen", unseen)):
        file = out / f"{cell.name}.{title}.json"
        if not file.is_file():
            dataset = source.open(cache)
            points = {}
            for perturbation in perturbations:
                tested = evaluate_perturbation(
                    model, dataset, encoder, store, perturbation=perturbation
                )
                points[str(perturbation or "none")] = {
                    metric: tested.test.metrics[metric] for metric in METRICS
                } | {"kept": tested.test.acceptance_rate}
            record = {"run_metadata": dict(model.run_metadata), "points": points}
            write_text(file, json.dumps(record))
        found |= json.loads(file.read_text("utf-8"))["points"]
    return found


def rows_of(curves: dict[str, list[Points]]) -> list[Row]:
    """A row for each kind and method: means over intensities and choices, in percent."""
    of_row = {"none": {"none"}}
    of_row |= {kind: {str(p) for p in list_perturbations([kind])} for kind in INTENSITIES}
    of_row |= {
        f"{kind}, unseen": {str(Perturbation(kind, value)) for value in values}
        for kind, values in UNSEEN.items()
    }
    rows: list[Row] = []
    for title, names in of_row.items():
        for method, of_method in curves.items():
            chosen = [points[name] for points in of_method for name in names]
            rows.append(
                {
                    "perturbation": title,
                    "method": method,
                    **{
                        shown: f"{100 * fmean(figures[metric] for figures in chosen):.1f}"
                        for metric, shown in (METRICS | {"kept": "known kept"}).items()
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
