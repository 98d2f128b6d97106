"""The reports of robustness and low-data experiments."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from whichgen.data.perturbations import list_perturbations
from whichgen.experiments.low_data import LowDataPoint
from whichgen.experiments.robustness import RobustnessPoint
from whichgen.report.experiment_reports import (
    low_data_rows,
    mean_std,
    robustness_rows,
    write_low_data,
    write_robustness,
)
from whichgen.training.fit_block import FitResult

from .test_fit_report import check_plots, strict

Make = Callable[..., FitResult]


def points_of(found: FitResult, kinds: tuple[str, ...]) -> list[RobustnessPoint]:
    """A point for each intensity whose accuracy falls by a percent a step."""
    points = [RobustnessPoint(None, found.evaluation, "h", ())]
    for i, perturbation in enumerate(list_perturbations(kinds), start=1):
        closed = replace(found.evaluation.closed, accuracy=0.5 - i / 100)
        evaluation = replace(found.evaluation, closed=closed)
        points.append(RobustnessPoint(perturbation, evaluation, "h", ("x.png: cut",)))
    return points


@pytest.mark.parametrize("unknown", [("flow", "ddpm"), ()])
@pytest.mark.parametrize("kinds", [("jpeg", "blur", "crop", "resize"), ("crop",), ()])
def test_robustness_is_written_whole_and_nothing_warns(
    make_fit: Make, tmp_path: Path, unknown: tuple[str, ...], kinds: tuple[str, ...]
) -> None:
    points = points_of(make_fit(unknown=unknown), kinds)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_robustness(points, {"whichgen": "1"}, tmp_path)
    kept = strict((tmp_path / "robustness.json").read_text())
    assert kept["run_metadata"] == {"whichgen": "1"}
    assert [p["perturbation"] for p in kept["points"]] == [
        str(p.perturbation) if p.perturbation else None for p in points
    ]
    assert len(kept["points"]) == 1 + 5 * len(kinds)
    with (tmp_path / "robustness.csv").open() as handle:
        assert len(list(csv.DictReader(handle))) == len(points)
    text = (tmp_path / "robustness.md").read_text()
    for kind, value in zip(kinds, (47, 42, 37, 32), strict=False):
        assert f"| {kind} | {value:.2f} |" in text
    assert robustness_rows(points)[0]["perturbation"] == "none"
    check_plots(tmp_path, {"robustness"})


def test_low_data_is_mean_and_sample_deviation_over_seeds(tmp_path: Path) -> None:
    points = [
        LowDataPoint(shots, seed, (0,), 1.0, 0.5 + seed / 10, 0.6, 0.4)
        for shots in (1, 10, 100)
        for seed in (0, 1, 2)
    ]
    rows = low_data_rows(points)
    assert [r["images a class"] for r in rows] == [1, 10, 100]
    assert rows[0]["accuracy"] == "60.0 ± 10.0"
    assert rows[0]["OSCR"] == "40.0 ± 0.0"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_low_data(points, {"whichgen": "1"}, tmp_path)
    kept = json.loads((tmp_path / "lowdata.json").read_text())
    assert len(kept["points"]) == 9
    assert "60.0 ± 10.0" in (tmp_path / "lowdata.md").read_text()
    check_plots(tmp_path, {"lowdata"})


def test_low_data_without_unknown_images_shows_a_dash(tmp_path: Path) -> None:
    points = [LowDataPoint(2, 0, (0,), 1.0, 0.5, None, None)]
    (row,) = low_data_rows(points)
    assert (row["accuracy"], row["AUROC"]) == ("50.0 ± 0.0", "–")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_low_data(points, {}, tmp_path)
    check_plots(tmp_path, {"lowdata"})


def test_mean_and_deviation_are_of_the_values_that_are_there() -> None:
    assert mean_std([1.0, None, 3.0]) == (2.0, pytest.approx(2**0.5))
    assert mean_std([0.5]) == (0.5, 0.0)
    assert mean_std([None, None]) == (None, 0.0)
