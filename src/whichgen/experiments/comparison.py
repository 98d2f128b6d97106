"""Paired comparison of runs, image by image, from their predictions."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from whichgen.errors import DataError
from whichgen.evaluation.bootstrap import RESAMPLES, Comparison, compare_predictions
from whichgen.evaluation.predictions import Predictions


@dataclass(frozen=True)
class RunPredictions:
    """A run's predictions for its known and unknown test images, each sorted by path.

    ``groups`` is ``None`` if the images have no groups; ``results`` is the run's ``results.json``.
    """

    folder: Path
    origins: tuple[str, ...]
    paths: tuple[np.ndarray, np.ndarray]
    answers: tuple[Predictions, Predictions]
    groups: tuple[np.ndarray, np.ndarray] | None
    results: Mapping[str, Any]


def read_run_predictions(folder: Path) -> RunPredictions:
    """Read the predictions in a run's folder.

    Raises
    ------
    DataError
        The predictions are missing or damaged.
    """
    try:
        with (folder / "predictions.csv").open(newline="", encoding="utf-8") as handle:
            rows = sorted(csv.DictReader(handle), key=lambda row: row["path"])
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        columns = [c for c in (rows[0] if rows else {}) if c.startswith("p(") and c.endswith(")")]
        origins = tuple(column[2:-1] for column in columns)
        known, unknown = (
            [row for row in rows if (row["origin"] in origins) is is_known]
            for is_known in (True, False)
        )

        def column(name: str) -> tuple[np.ndarray, np.ndarray]:
            read = [np.array([row.get(name) or "" for row in half]) for half in (known, unknown)]
            return read[0].astype(str), read[1].astype(str)

        def predictions(half: list[dict[str, str]]) -> Predictions:
            values = [[float(row[c]) for c in columns] for row in half]
            return Predictions(
                np.array(values).reshape(len(half), len(columns)),
                np.array([row["origin"] for row in half], dtype=str),
                np.array([float(row["score"]) for row in half]),
            )

        answers, groups = (predictions(known), predictions(unknown)), column("group")
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename} not found. Give the folder of a run of `whichgen linear`, `knn` "
            "or `fuse`."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"the predictions in {folder} are damaged ({error}). Run the fit again."
        ) from None
    if not origins or not known:
        raise DataError(f"the predictions in {folder} have no known image. Run the fit again.")
    has_groups = all(g for half in groups for g in half.tolist())
    return RunPredictions(
        folder, origins, column("path"), answers, groups if has_groups else None, results
    )


def compare_runs(
    first: RunPredictions, second: RunPredictions, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Comparison]:
    """Compare two runs; see :func:`whichgen.evaluation.bootstrap.compare_predictions`.

    Raises
    ------
    DataError
        The runs differ in their test images, their known origins or their groups.
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
    known, unknown = (
        Predictions(a.probabilities[:, order], a.origins, a.scores) for a in second.answers
    )
    # The images are the same: if one run lacks their groups, the other's hold for both.
    groups = first.groups or second.groups
    if groups and not all(map(np.array_equal, groups, second.groups or groups)):
        raise DataError(
            f"{first.folder} and {second.folder} group the same images in different ways. Fit both "
            "with the same --groups."
        )
    first_known, first_unknown = (
        replace(answers, groups=names)
        for answers, names in zip(first.answers, groups or (None, None), strict=True)
    )
    return compare_predictions(
        (first_known, first_unknown),
        (known, unknown),
        first.origins,
        resamples=resamples,
        seed=seed,
    )
