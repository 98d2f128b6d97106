"""Reports of robustness and low-data experiments."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from whichgen.data.images.perturbations import list_perturbations
from whichgen.experiments.low_data import LowDataPoint
from whichgen.experiments.robustness import RobustnessPoint
from whichgen.report.experiment_reports import write_experiment, write_robustness
from whichgen.report.figures.experiment_curves import plot_low_data, tabulate_low_data
from whichgen.report.run_reader import read_low_data

from .conftest import MakeFit, check_plots, read_rows, strict_json


@pytest.mark.parametrize("unknown", [("flow", "ddpm"), ()])
@pytest.mark.parametrize("kinds", [("jpeg", "blur", "crop", "resize"), ("crop",), ()])
@pytest.mark.filterwarnings("error")
def test_robustness_report_is_complete(
    make_fit: MakeFit, tmp_path: Path, unknown: tuple[str, ...], kinds: tuple[str, ...]
) -> None:
    evaluation = make_fit(unknown=unknown).evaluation
    points = [RobustnessPoint(None, evaluation, ())]
    for i, perturbation in enumerate(list_perturbations(kinds), start=1):
        closed = replace(evaluation.closed, accuracy=0.5 - i / 100)
        test = replace(evaluation, closed=closed)
        points.append(RobustnessPoint(perturbation, test, ("x.png: cut",)))
    write_robustness(points, {"whichgen": "1"}, tmp_path)
    record = strict_json((tmp_path / "robustness.json").read_text())
    assert record["run_metadata"] == {"whichgen": "1"}
    assert len(record["points"]) == 1 + 5 * len(kinds)
    for point, result, row in zip(
        points, record["points"], read_rows(tmp_path / "robustness.csv"), strict=True
    ):
        assert result["perturbation"] == (str(point.perturbation) if point.perturbation else None)
        assert result["test"]["closed"]["accuracy"] == point.test.closed.accuracy
        assert float(row["accuracy"]) == point.test.closed.accuracy
    text = (tmp_path / "robustness.md").read_text()
    assert "18 images of known origins" in text
    for kind, mean in zip(kinds, (47, 42, 37, 32), strict=False):
        assert f"| {kind} | {mean:.1f} |" in text
    check_plots(tmp_path, {"robustness"})


def test_low_data_rows_are_mean_and_sample_deviation_over_seeds(tmp_path: Path) -> None:
    points = [
        LowDataPoint(size, seed, (0,), 1.0, 0.5 + seed / 10, 0.6, 0.4)
        for size in (1, 10, 100)
        for seed in (0, 1, 2)
    ]
    rows = tabulate_low_data(points)
    assert [r["images per class"] for r in rows] == [1, 10, 100]
    assert rows[0]["accuracy"] == "60.0 ± 10.0"
    assert rows[0]["OSCR"] == "40.0 ± 0.0"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_experiment(plot_low_data(points), points, {"whichgen": "1"}, tmp_path)
    assert read_low_data(tmp_path) == tuple(points)
    assert "60.0 ± 10.0" in (tmp_path / "lowdata.md").read_text()
    check_plots(tmp_path, {"lowdata"})


def test_low_data_without_unknown_images_has_dashes(tmp_path: Path) -> None:
    points = [LowDataPoint(2, 0, (0,), 1.0, 0.5, None, None)]
    (row,) = tabulate_low_data(points)
    assert (row["accuracy"], row["AUROC"]) == ("50.0 ± 0.0", "–")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_experiment(plot_low_data(points), points, {}, tmp_path)
    check_plots(tmp_path, {"lowdata"})
