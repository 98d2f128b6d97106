"""Runs compared in pairs, image by image, from the predictions that each left."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whichgen.constants import RESAMPLES
from whichgen.errors import DataError
from whichgen.evaluation.bootstrap import Comparison, compare_predictions
from whichgen.evaluation.predictions import Predictions


@dataclass(frozen=True)
class RunPredictions:
    """What a run's model said of its test images, known and unknown, each sorted by path.

    ``groups`` are the images' groups, or ``None`` where they are not known; ``results`` is the
    run's ``results.json``.
    """

    folder: Path
    origins: tuple[str, ...]
    paths: tuple[np.ndarray, np.ndarray]
    answers: tuple[Predictions, Predictions]
    groups: tuple[np.ndarray, np.ndarray] | None
    results: Mapping[str, Any]


def read_run_predictions(folder: Path) -> RunPredictions:
    """The predictions in a run's folder.

    Raises
    ------
    DataError
        There are none, or they are damaged.
    """
    try:
        with (folder / "predictions.csv").open(newline="", encoding="utf-8") as handle:
            rows = sorted(csv.DictReader(handle), key=lambda row: row["path"])
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        columns = [c for c in (rows[0] if rows else {}) if c.startswith("p(") and c.endswith(")")]
        origins = tuple(column[2:-1] for column in columns)
        halves = (
            [row for row in rows if row["origin"] in origins],
            [row for row in rows if row["origin"] not in origins],
        )
        answers = [
            Predictions(
                np.array([[float(row[c]) for c in columns] for row in half]).reshape(
                    len(half), len(columns)
                ),
                np.array([row["origin"] for row in half], dtype=str),
                np.array([float(row["score"]) for row in half]),
            )
            for half in halves
        ]
        groups = [np.array([row.get("group") or "" for row in half], dtype=str) for half in halves]
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename} is not there. Give the folder of a run of `whichgen linear`, `knn` "
            "or `fuse`."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"the predictions in {folder} are damaged ({error}). Run it again.") from (
            None
        )
    if not origins or not halves[0]:
        raise DataError(f"the predictions in {folder} are of no known image. Run it again.")
    return RunPredictions(
        folder=folder,
        origins=origins,
        paths=(
            np.array([row["path"] for row in halves[0]], dtype=str),
            np.array([row["path"] for row in halves[1]], dtype=str),
        ),
        answers=(answers[0], answers[1]),
        groups=(groups[0], groups[1]) if all(all(g.tolist()) for g in groups) else None,
        results=results,
    )


def compare_runs(
    first: RunPredictions, second: RunPredictions, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Comparison]:
    """First less second on their test images; see :func:`whichgen.evaluation.bootstrap.compare`.

    Raises
    ------
    DataError
        They were not tested on the same images with the same known origins, or group them in
        different ways.
    """
    for a, b, which in zip(first.paths, second.paths, ("known", "unknown"), strict=True):
        if not np.array_equal(a, b):
            raise DataError(
                f"{first.folder} and {second.folder} were not tested on the same {which} images: "
                f"{len(np.intersect1d(a, b))} of {len(a)} and {len(b)} are in both. Fit both with "
                "the same data, --unknown, --unknown-val, --fractions and --seed."
            )
    if sorted(first.origins) != sorted(second.origins):
        raise DataError(f"{first.folder} and {second.folder} know different origins.")
    order = [second.origins.index(origin) for origin in first.origins]
    theirs = [Predictions(a.probabilities[:, order], a.origins, a.scores) for a in second.answers]
    # The images are the same: if one run lacks their groups, the other's hold for both.
    groups = first.groups or second.groups
    if groups and not all(map(np.array_equal, groups, second.groups or groups)):
        raise DataError(
            f"{first.folder} and {second.folder} group the same images in different ways. Fit both "
            "with the same --groups."
        )
    known, unknown = groups or (None, None)
    return compare_predictions(
        first.answers,
        (theirs[0], theirs[1]),
        first.origins,
        groups_known=known,
        groups_unknown=unknown,
        resamples=resamples,
        seed=seed,
    )
