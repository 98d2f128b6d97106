"""Tables, contact sheet and report of groups of similar images (``whichgen discover``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from whichgen.data.images.decoding import read_image
from whichgen.evaluation.clustering import ClusteringMetrics
from whichgen.inference.discover import Group
from whichgen.io.atomic_writes import write_text
from whichgen.io.result_files import Row, format_markdown_table, format_rate, write_csv, write_json
from whichgen.io.text_tables import format_rows
from whichgen.phrases import format_count
from whichgen.report.figures.style import save_png, shorten

#: Maximum numbers of images per group (columns) and of groups (rows) on the contact sheet.
_SHEET_COLUMNS, _SHEET_ROWS = 8, 20


@dataclass(frozen=True)
class Discovery:
    """Images and the groups into which they were clustered.

    Parameters
    ----------
    paths
        Path of each image.
    true_origins
        True origin of each image: the name of its top-level subfolder, or an empty string for an
        image that is not in a subfolder.
    groups
        The groups, largest first.
    agreement
        Agreement between the groups and the true origins; ``None`` if there are fewer than two
        different origins.
    """

    paths: tuple[Path, ...]
    true_origins: tuple[str, ...]
    groups: tuple[Group, ...]
    agreement: ClusteringMetrics | None


def tabulate_discovery(discovery: Discovery) -> list[Row]:
    """Return one table row per group, then one row for all images without a group, if any.

    If :attr:`Discovery.agreement` is not ``None``, the column ``subfolders`` lists the three most
    frequent true origins of each group, with their numbers of images.
    """
    rows: list[Row] = []
    for group in discovery.groups:
        row: dict[str, Any] = {
            "group": group.name,
            "images": len(group.members),
            "nearest known": group.nearest_origin,
            "share": format_rate(group.share),
            "cohesion": f"{group.cohesion:.2f}",
        }
        if discovery.agreement:
            counts = Counter(discovery.true_origins[i] for i in group.members)
            row["subfolders"] = ", ".join(f"{name} {n}" for name, n in counts.most_common(3))
        rows.append(row)
    n_ungrouped = len(discovery.paths) - sum(len(group.members) for group in discovery.groups)
    if n_ungrouped:
        empty = dict.fromkeys(rows[0] if rows else (), "")
        rows.append({**empty, "group": "no group", "images": n_ungrouped})
    return rows


def write_discovery(discovery: Discovery, run_metadata: Mapping[str, Any], folder: Path) -> Path:
    """Write the groups of images and a report to ``folder``, and return ``folder``.

    The files are ``groups.csv`` (the group of each image), one list of paths per group
    (``unknown-1.txt``, …), ``groups.json`` (the groups, the agreement with the subfolders and
    ``run_metadata``), ``report.md`` and the contact sheet ``sheet.png``. Lists of an earlier run
    (``unknown-*.txt``) are deleted.

    Raises
    ------
    ImageError
        An image for the contact sheet can't be read.
    OSError
        A file can't be written.
    """
    paths, groups, metrics = discovery.paths, discovery.groups, discovery.agreement
    group_names = {i: group.name for group in groups for i in group.members}
    rows = [{"path": str(path), "group": group_names.get(i, "")} for i, path in enumerate(paths)]
    write_csv(folder / "groups.csv", rows)
    for earlier_list in folder.glob("unknown-*.txt"):
        earlier_list.unlink()
    records = []
    for group in groups:
        members = [str(paths[i]) for i in group.members]
        records.append({**vars(group), "members": members})
        lines = format_rows((path,) for path in members)
        write_text(folder / f"{group.name}.txt", lines, keep_bytes=True)
    record = {"run_metadata": run_metadata, "agreement": metrics, "groups": records}
    write_json(folder / "groups.json", record)
    agreement = ""
    if metrics:
        agreement = (
            f"Agreement with the subfolders: {metrics}; "
            f"{format_rate(metrics.clustered_fraction)} % of the images belong to a group.\n\n"
        )
    write_text(
        folder / "report.md",
        f"# {format_count(len(groups), 'group')} of similar images among "
        f"{format_count(len(paths), 'image')}\n\n{agreement}"
        f"{format_markdown_table(tabulate_discovery(discovery))}\nThe images in a group have "
        "similar embeddings. A group can contain several generators, or only some images of one "
        "generator. Inspect a group before you enroll it. Nearest known is the most frequently "
        "predicted known origin, and share is the percentage of images with this prediction. "
        "Cohesion is the mean cosine similarity to the center of the group.\n\n"
        "![Most typical images of the largest groups](sheet.png)\n",
    )
    save_png(draw_contact_sheet(discovery), folder / "sheet.png")
    return folder


def draw_contact_sheet(discovery: Discovery) -> Figure:
    """Draw a contact sheet with one group per row: the images closest to the mean of the group.

    The sheet shows at most the 20 largest groups, and at most 8 images of each.

    Raises
    ------
    ImageError
        An image can't be read.
    """
    groups = discovery.groups[:_SHEET_ROWS]
    rows = max(1, len(groups))
    figure = Figure(figsize=(1.1 * _SHEET_COLUMNS + 2.2, 1.2 * rows), layout="constrained")
    axes = figure.subplots(rows, _SHEET_COLUMNS + 1, squeeze=False)
    for ax in axes.ravel():
        ax.axis("off")
    for row, group in zip(axes, groups, strict=False):
        nearest = shorten(group.nearest_origin)
        label = f"{group.name}\n{format_count(len(group.members), 'image')}\nnearest: {nearest}"
        row[0].text(1, 0.5, label, ha="right", va="center", fontsize=8, transform=row[0].transAxes)
        for ax, i in zip(row[1:], group.members, strict=False):
            image = read_image(discovery.paths[i])
            image.thumbnail((128, 128))
            ax.imshow(np.asarray(image))
            if discovery.agreement:
                ax.set_title(shorten(discovery.true_origins[i]), fontsize=6, pad=2)
    return figure
