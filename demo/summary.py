"""Print the results of ``make demo``: ``python demo/summary.py RUN``.

The results are the metrics on the test set, the paths of three plots, and the predicted origins of
five test images: the first image of each of three known and two unknown origins.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from whichgen import Attributor
from whichgen.constants import UNKNOWN

#: Titles of the metrics.
METRICS = {
    "accuracy": "Closed-set accuracy (known origins)",
    "auroc": "AUROC, known vs. unknown generators",
    "oscr": "OSCR (accuracy and rejection combined)",
    "acceptance_rate": "Known images accepted at the threshold",
    "rejection_rate": "Unknown images rejected at the threshold",
}
#: What each plot shows.
PLOTS = {
    "confusion_open": "confusion matrix with rejection",
    "scores": "scores of known and unknown images, and the threshold",
    "embedding": "map of the test images",
}


def main(run: Path) -> None:
    """Print the summary of a run."""
    results = json.loads((run / "results.json").read_text("utf-8"))
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
        paths = {row["origin"]: Path(row["path"]) for row in reversed(list(csv.DictReader(file)))}
    attributor = Attributor.load(run)
    known = attributor.model.origins
    unknown = sorted(set(paths) - set(known))

    console = Console(highlight=False)
    test = results["test"]
    title = f"Test set: {test['known_images']} known, {test['unknown_images']} unknown images"
    table = Table(title=title, title_justify="left")
    table.add_column("metric")
    table.add_column("%", justify="right")
    table.add_column("95 % interval", justify="right")
    for key, label in METRICS.items():
        value, low, high = (
            100 * results["intervals"][key][part] for part in ("value", "low", "high")
        )
        table.add_row(label, f"{value:.1f}", f"{low:.1f} to {high:.1f}")
    console.print(table)

    table = Table(title="Five test images", title_justify="left")
    for column in ("image", "true origin", "predicted origin", ""):
        table.add_column(column)
    origins = [*known[:3], *unknown[:2]]
    answers = attributor.attribute([paths[origin] for origin in origins])
    for origin, answer in zip(origins, answers, strict=True):
        path = paths[origin]
        correct = answer.origin == (origin if origin in known else UNKNOWN)
        table.add_row(
            f"{path.parent.name}/{path.name}",
            origin if origin in known else f"{origin} ({UNKNOWN})",
            answer.origin,
            "correct" if correct else "wrong",
        )
    console.print(table)

    console.print(results["shortcut_check"]["message"])
    console.print("\nPlots:")
    for name, description in PLOTS.items():
        console.print(f"  {run / 'plots' / name}.png  {description}", soft_wrap=True)
    console.print("\nNext steps:")
    console.print(f"  . {os.path.relpath(sys.prefix)}/bin/activate", soft_wrap=True)
    console.print(f"  whichgen attribute YOUR_IMAGE -m {run}", soft_wrap=True)
    console.print(
        "  whichgen fuse --data YOUR_FOLDER --backbone efficientnet_lite0", soft_wrap=True
    )
    console.print("YOUR_FOLDER has one subfolder per origin. The full report: ", end="")
    console.print(f"{run / 'report.md'}", soft_wrap=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
