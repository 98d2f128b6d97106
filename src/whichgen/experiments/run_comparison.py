"""Read the predictions of runs, and compare two runs on the same test images."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from whichgen.defaults import RESAMPLES
from whichgen.errors import DataError
from whichgen.evaluation.paired_comparison import Comparison, compare_predictions
from whichgen.evaluation.predictions import Predictions


@dataclass(frozen=True)
class RunPredictions:
    """Predictions of a run for its test images, sorted by path.

    Parameters
    ----------
    folder
        The run folder.
    origins
        Known origins, in the order of the probabilities' columns.
    paths, predictions
        Pairs (known, unknown): the paths of the test images, str arrays (n,) and (m,), and the
        predictions for them.
    coarse_origins
        The answer for each known and then each unknown test image: a known origin, a family,
        ``synthetic``, ``real`` or ``unknown``; empty if the run does not record the answers.
    results
        The parsed ``results.json`` of the run.
    """

    folder: Path
    origins: tuple[str, ...]
    paths: tuple[np.ndarray, np.ndarray]
    predictions: tuple[Predictions, Predictions]
    coarse_origins: tuple[str, ...]
    results: Any


@contextmanager
def convert_file_errors(file: Path) -> Iterator[None]:
    """Convert errors in the ``with`` block to :class:`DataError` if ``file`` is missing or damaged.

    Raises
    ------
    DataError
        The file is missing or damaged.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{file} not found. Specify the run folder of `whichgen linear`, `knn` or `fuse`; for "
            "`whichgen report --low-data`, specify the run folder of `whichgen low-data`."
        ) from None
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(
            f"{file} is damaged ({error!r}). Rerun the command that wrote it."
        ) from None


def read_json(file: Path) -> Any:
    """Read a JSON file from a run folder.

    Raises
    ------
    DataError
        The file is missing or damaged.
    OSError
        The file can't be opened, for example because permission is missing.
    """
    with convert_file_errors(file):
        return json.loads(file.read_text(encoding="utf-8"))


def read_csv(file: Path) -> list[dict[str, str]]:
    """Read a CSV file from a run folder: one dictionary per row, with column names as keys.

    Raises
    ------
    DataError
        The file is missing or damaged.
    OSError
        The file can't be opened, for example because permission is missing.
    """
    with convert_file_errors(file), file.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def read_run_predictions(folder: Path) -> RunPredictions:
    """Read ``predictions.csv`` and ``results.json`` from a run folder.

    Raises
    ------
    DataError
        A file is missing or damaged, or there is no test image of a known origin.
    OSError
        A file can't be opened, for example because permission is missing.
    """
    file = folder / "predictions.csv"
    with convert_file_errors(file):
        rows = sorted(read_csv(file), key=itemgetter("path"))
        origins = tuple(
            column[2:-1]
            for column in (rows[0] if rows else ())
            if column.startswith("p(") and column.endswith(")")
        )
        path, origin = (np.array([r[c] for r in rows], dtype=str) for c in ("path", "origin"))
        scores = np.array([float(row["score"]) for row in rows])
        probabilities = np.array([[float(row[f"p({o})"]) for o in origins] for row in rows])
    group, source, coarse_origin = (
        np.array([row.get(column) or "" for row in rows], dtype=str)
        for column in ("group", "source", "coarse_origin")
    )
    has_groups, has_sources, has_answers = (
        (names != "").all() for names in (group, source, coarse_origin)
    )
    is_known = np.isin(origin, origins)
    if not is_known.any():
        raise DataError(f"{file} has no image of a known origin. Rerun the command that wrote it.")
    known, unknown = (
        Predictions(
            probabilities[i],
            origin[i],
            scores[i],
            group[i] if has_groups else None,
            source[i] if has_sources else None,
        )
        for i in (is_known, ~is_known)
    )
    return RunPredictions(
        folder,
        origins,
        (path[is_known], path[~is_known]),
        (known, unknown),
        (*coarse_origin[is_known].tolist(), *coarse_origin[~is_known].tolist())
        if has_answers
        else (),
        read_json(folder / "results.json"),
    )


def compare_runs(
    first: RunPredictions, second: RunPredictions, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Comparison]:
    """Compare the metrics of two runs on the same test images.

    If the known images have sources and both runs record their answers, the metrics of the answers
    (:data:`~whichgen.evaluation.answer_metrics.ANSWER_TITLES`) are compared, too.

    Parameters
    ----------
    first, second
        Predictions of the two runs; differences are ``first`` minus ``second``.
    resamples
        Number of bootstrap resamples, at least 1.
    seed
        Seed of the resampling.

    Returns
    -------
    dict
        Maps the name of each metric that is defined for both runs to its comparison
        (:func:`whichgen.evaluation.paired_comparison.compare_predictions`).

    Raises
    ------
    DataError
        The runs differ in their known origins, in their test images, or in the origins, sources or
        groups of the test images.
    """
    for a, b, kind in zip(first.paths, second.paths, ("known", "unknown"), strict=True):
        if not np.array_equal(a, b):
            raise DataError(
                f"{first.folder} and {second.folder} were not tested on the same {kind} images: "
                f"of {len(a)} and {len(b)} images, {len(np.intersect1d(a, b))} have the same "
                "path. Fit both runs with the same data, dataset options and protocol."
            )
    if sorted(first.origins) != sorted(second.origins):
        raise DataError(
            f"{first.folder} and {second.folder} have different known origins. Fit both runs "
            "on the same known origins."
        )
    for kind in ("sources", "groups"):
        names = [[np.array(getattr(p, kind)) for p in run.predictions] for run in (first, second)]
        if not all(map(np.array_equal, *names)):
            raise DataError(
                f"{first.folder} and {second.folder} do not have the same {kind} for the test "
                f"images. Fit both runs with the same {kind}."
            )
    order = [second.origins.index(origin) for origin in first.origins]
    known, unknown = (
        replace(p, probabilities=p.probabilities[:, order]) for p in second.predictions
    )
    by_source = first.predictions[0].sources is not None
    answers = (first.coarse_origins, second.coarse_origins)
    return compare_predictions(
        first.predictions,
        (known, unknown),
        first.origins,
        answers=answers if by_source and all(answers) else None,
        resamples=resamples,
        seed=seed,
    )
