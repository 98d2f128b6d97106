"""The report of a discovery: groups with exemplars, and how they agree with the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from whichgen.data.reading import read_image
from whichgen.evaluation.clustering import NOISE, ClusteringMetrics
from whichgen.inference.discover import Group
from whichgen.io.atomic import write_text
from whichgen.io.tables import Row, markdown_table, percent, write_csv
from whichgen.report.plots import save_figure
from whichgen.report.result_tables import to_json

#: Exemplars of a group on the sheet, and groups on it, at most.
_ACROSS = 8
_DOWN = 20


@dataclass(frozen=True)
class Discovery:
    """What was grouped.

    Parameters
    ----------
    paths, truth
        The images, and the name of each one's sub-folder; empty where there are none.
    number
        The group of each image, or ``NOISE``: int array (n,).
    agreement
        With the sub-folders, where there are several.
    """

    paths: tuple[Path, ...]
    truth: tuple[str, ...]
    groups: tuple[Group, ...]
    number: np.ndarray
    agreement: ClusteringMetrics | None


def discovery_rows(found: Discovery) -> list[Row]:
    """A row for each group, and one for the images in none."""
    rows: list[Row] = []
    for group in found.groups:
        row: dict[str, Any] = {
            "group": group.name,
            "images": len(group.members),
            "nearest known": group.nearest_origin,
            "share": percent(group.share),
            "cohesion": f"{group.cohesion:.2f}",
        }
        if found.agreement:
            counts = Counter(found.truth[i] for i in group.members)
            row["sub-folders"] = ", ".join(f"{name} {n}" for name, n in counts.most_common(3))
        rows.append(row)
    alone = int((found.number == NOISE).sum())
    if alone:
        empty = dict.fromkeys(rows[0] if rows else (), "")
        rows.append({**empty, "group": "in none", "images": alone})
    return rows


def write_discovery(found: Discovery, run_metadata: Mapping[str, Any], folder: Path) -> Path:
    """Writes ``groups.json`` and ``.csv``, a list of paths a group, ``report.md``, ``sheet.png``.

    Lists of an earlier run in the same folder are taken away.
    """
    names = [group.name for group in found.groups]
    write_text(
        folder / "groups.json",
        to_json(
            {
                "run_metadata": dict(run_metadata),
                "agreement": asdict(found.agreement) if found.agreement else None,
                "groups": [
                    {**asdict(g), "members": [str(found.paths[i]) for i in g.members]}
                    for g in found.groups
                ],
            }
        ),
    )
    write_csv(
        folder / "groups.csv",
        [
            {"path": str(path), "group": names[i] if i >= 0 else ""}
            for path, i in zip(found.paths, found.number.tolist(), strict=True)
        ],
    )
    for old in folder.glob("unknown-*.txt"):
        old.unlink()
    for group in found.groups:
        lines = "".join(f"{found.paths[i]}\n" for i in group.members)
        write_text(folder / f"{group.name}.txt", lines)
    told = ""
    if found.agreement:
        a = found.agreement
        told = (
            f"Against the sub-folders: NMI {a.nmi:.3f}, purity {a.purity:.3f}, ARI {a.ari:.3f}; "
            f"{percent(a.grouped)} % of the images are in a group.\n\n"
        )
    write_text(
        folder / "report.md",
        f"# {len(found.groups)} putative generators among {len(found.paths)} images\n\n{told}"
        f"{markdown_table(discovery_rows(found))}\nA group is what looks alike to the model; "
        "it may be half a generator, or two. Look at it before you give it a name.\n\n"
        "![exemplars](sheet.png)\n",
    )
    save_figure(sheet(found), folder / "sheet.png")
    return folder


def sheet(found: Discovery) -> Figure:
    """The most typical images of each group, a group a row."""
    groups: Sequence[Group] = found.groups[:_DOWN]
    figure = Figure(figsize=(1.1 * _ACROSS + 2.2, 1.2 * max(1, len(groups))), layout="constrained")
    axes = figure.subplots(max(1, len(groups)), _ACROSS + 1, squeeze=False)
    for ax in axes.ravel():
        ax.axis("off")
    for row, group in zip(axes, groups, strict=False):
        label = f"{group.name}\n{len(group.members)} images\nnearest: {group.nearest_origin}"
        row[0].text(1, 0.5, label, ha="right", va="center", fontsize=8, transform=row[0].transAxes)
        for ax, i in zip(row[1:], group.members, strict=False):
            image = read_image(found.paths[i])
            image.thumbnail((128, 128))
            ax.imshow(np.asarray(image))
            if found.agreement:
                ax.set_title(found.truth[i][:18], fontsize=6, pad=2)
    return figure
