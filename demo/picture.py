"""Draw the picture of the README: ``python demo/picture.py RUN OUT.png``.

The picture contains three test images of each origin with their true and predicted origin.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from whichgen.constants import UNKNOWN

#: Colors of correct and wrong predictions.
CORRECT, WRONG = "#00795A", "#C04A00"
#: Number of images per origin.
ROWS = 3


def draw(run: Path, out: Path) -> None:
    """Draw the picture of a run.

    The images are taken at regular intervals from ``predictions.csv``, not chosen by their result.
    """
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    prediction = "answer" if "answer" in rows[0] else "predicted"
    known = [column[2:-1] for column in rows[0] if column.startswith("p(")]
    by_origin: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        by_origin[row["origin"]].append(row)
    origins = [*known, *sorted(set(by_origin) - set(known))]
    figure = Figure(figsize=(1.6 * len(origins), 1.95 * ROWS + 0.6), layout="constrained")
    for column, origin in enumerate(origins):
        samples = by_origin[origin][:: max(1, len(by_origin[origin]) // ROWS)][:ROWS]
        expected = origin if origin in known else UNKNOWN
        for picture_row, row in enumerate(samples):
            ax = figure.add_subplot(ROWS, len(origins), picture_row * len(origins) + column + 1)
            ax.imshow(Image.open(row["path"]).convert("RGB"))
            ax.set_xticks([])
            ax.set_yticks([])
            correct = row[prediction] == expected
            color = CORRECT if correct else WRONG
            ax.spines[:].set_color(color)
            ax.spines[:].set_linewidth(3)
            mark = "✓" if correct else "✗"
            ax.set_xlabel(f"{mark} {row[prediction]}", fontsize=9, color=color)
            if picture_row == 0:
                group = "\n(known)" if origin in known else "\n(not in training)"
                ax.set_title(f"{origin}{group}", fontsize=9.5, fontweight="bold")
    figure.suptitle(
        "Test images: true origin above, predicted origin below (✓ correct, ✗ wrong)",
        fontsize=10,
        color="#333333",
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
