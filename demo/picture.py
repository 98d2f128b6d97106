"""The README's picture: ``python demo/picture.py RUN OUT.png``.

Images that no head was fitted on, each with its origin and the answer.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from whichgen.constants import UNKNOWN

RIGHT, WRONG = "#009E73", "#D55E00"
ROWS = 3


def draw(run: Path, out: Path) -> None:
    """Three test images of every origin, as they come in the predictions (none is picked)."""
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    known = [c[2:-1] for c in rows[0] if c.startswith("p(")]
    by_origin: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        by_origin[row["origin"]].append(row)
    origins = [*known, *sorted(set(by_origin) - set(known))]
    figure = Figure(figsize=(1.5 * len(origins), 1.85 * ROWS + 0.5), layout="constrained")
    for column, origin in enumerate(origins):
        picked = by_origin[origin][:: max(1, len(by_origin[origin]) // ROWS)][:ROWS]
        for line, row in enumerate(picked):
            ax = figure.add_subplot(ROWS, len(origins), line * len(origins) + column + 1)
            ax.imshow(Image.open(row["path"]).convert("RGB"))
            ax.set_xticks([])
            ax.set_yticks([])
            right = row["answer"] == (origin if origin in known else UNKNOWN)
            ax.spines[:].set_color(RIGHT if right else WRONG)
            ax.spines[:].set_linewidth(3)
            ax.set_xlabel(row["answer"], fontsize=8, color=RIGHT if right else WRONG)
            if line == 0:
                group = "" if origin in known else f"\n({UNKNOWN})"
                ax.set_title(origin + group, fontsize=8.5, fontweight="bold")
    figure.suptitle(
        "above: true origin · below: answer, green if right", fontsize=9, color="#444444"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
