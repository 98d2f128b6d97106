"""Draw ``docs/pictures/oscr.svg``, the worked example of ``concepts.md``.

Run ``python docs/make/figures.py`` after changing the example.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt

from whichgen.evaluation.oscr import compute_oscr, compute_oscr_curve
from whichgen.evaluation.unknown_detection import compute_roc_curve

KNOWN = np.array([0.95, 0.80, 0.60, 0.55])
CORRECT = np.array([True, True, False, True])
UNKNOWN = np.array([0.70, 0.50, 0.30])

matplotlib.use("svg")
# Write the same bytes in every run, and text as text instead of outlines.
plt.rcParams.update({"svg.hashsalt": "whichgen", "svg.fonttype": "none", "font.size": 11})
BLUE, ORANGE = "#0072b2", "#d55e00"


def draw(file: Path) -> None:
    """Draw the ROC and the OSCR curve of the seven images side by side."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.9), layout="constrained")
    fpr, tpr = compute_roc_curve(KNOWN, UNKNOWN)
    left.fill_between(fpr, tpr, color=BLUE, alpha=0.15)
    left.plot(fpr, tpr, color=BLUE, marker="o", label="known images kept")
    left.set(title="AUROC = 10/12", ylabel="share of known images kept")
    fpr, ccr = compute_oscr_curve(KNOWN, CORRECT, UNKNOWN)
    area = compute_oscr(KNOWN, CORRECT, UNKNOWN)
    right.fill_between(fpr, ccr, color=ORANGE, alpha=0.15)
    right.plot(fpr, ccr, color=ORANGE, marker="o")
    right.axhline(CORRECT.mean(), color="#777", linestyle=":")
    right.text(0.98, CORRECT.mean() + 0.02, "accuracy", ha="right", color="#555")
    right.set(title=f"OSCR = {area * 12:.0f}/12", ylabel="share of known images kept and correct")
    for axes in (left, right):
        axes.set(xlim=(-0.03, 1.03), ylim=(0, 1.06), xlabel="share of unknown images kept")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    draw(Path(__file__).parents[1] / "pictures" / "oscr.svg")
