"""The folder of a fit: all files agree with the evaluation."""

from __future__ import annotations

import csv
import errno
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import whichgen.report.result_tables as tested_report_module
import whichgen.report.run_folder as fit_report_module
from whichgen.evaluation.protocols import PAPER_CAVEAT
from whichgen.models.saved_model import load_model
from whichgen.report.plots import fit_plots
from whichgen.report.result_tables import headline_rows, to_json, unknown_generator_row
from whichgen.report.run_folder import write_fit
from whichgen.training.fit_block import FitResult

Make = Callable[..., FitResult]


def strict(text: str) -> Any:
    """JSON as its standard has it."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with file.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def check_plots(folder: Path, names: set[str]) -> None:
    """Every plot is there, can be opened and has something on it."""
    assert {p.stem for p in (folder / "plots").iterdir()} == names
    for path in (folder / "plots").iterdir():
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=np.float64)
        assert min(pixels.shape[:2]) > 200, path
        # Ink from one side to the other, and from the title to the bottom.
        ink = (pixels < 250).any(axis=2)
        assert ink.mean() > 0.002, path
        for axis in (0, 1):
            inked = np.flatnonzero(ink.any(axis=axis))
            assert inked[-1] - inked[0] > 0.6 * ink.shape[1 - axis], path


@pytest.fixture
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are most of the time of a small fit's report."""
    monkeypatch.setattr(fit_report_module, "fit_plots", lambda *_: {})


@pytest.mark.usefixtures("without_plots")
def test_json_agrees_with_the_evaluation(make_fit: Make, tmp_path: Path) -> None:
    found = make_fit(groups={"pair": ("flow", "ddpm")})
    write_fit(found, tmp_path)
    results = strict((tmp_path / "results.json").read_text())
    assert results["test"] == strict(to_json(asdict(found.evaluation)))
    assert results["test"]["closed"]["accuracy"] == found.evaluation.closed.accuracy
    assert [u["name"] for u in results["test"]["unknown"]] == ["ddpm", "flow"]
    assert [g["name"] for g in results["test"]["groups"]] == ["pair"]
    assert results["selection"] == {
        "metric": "AUC",
        "block": found.block,
        "parameter": "k",
        "value": found.model.hyperparameter,
    }
    assert results["threshold"] == {
        "value": found.model.threshold,
        "tpr": 0.95,
        "tpr_interval": list(found.tpr_interval),
    }
    assert results["run_metadata"] == found.model.run_metadata
    assert results["protocol"]["name"] == "clean"
    assert len(results["blocks"]) == 2
    assert load_model(tmp_path).threshold == found.model.threshold


@pytest.mark.usefixtures("without_plots")
def test_tables_have_a_row_for_each_candidate_block_generator_and_image(
    make_fit: Make, tmp_path: Path
) -> None:
    found = make_fit(groups={"pair": ("flow", "ddpm")})
    write_fit(found, tmp_path)
    grid = rows(tmp_path / "grid.csv")
    assert [(int(r["block"]), float(r["value"])) for r in grid] == [
        (b, v) for b in (0, 1) for v in (1.0, 2.0, 3.0)
    ]
    assert [float(r["auroc"]) for r in grid] == [c.auroc for c in found.grid]
    blocks = rows(tmp_path / "blocks.csv")
    assert [float(r["test_oscr"]) for r in blocks] == [b.test.oscr for b in found.blocks]
    assert [float(r["k"]) for r in blocks] == [b.validation.value for b in found.blocks]
    unknown = rows(tmp_path / "unknown.csv")
    assert [r["unknown"] for r in unknown] == ["ddpm", "flow", "pair"]
    every = (*found.evaluation.unknown, *found.evaluation.groups)
    assert [float(r["AUROC"]) for r in unknown] == [u.detection.auroc for u in every]
    predictions = rows(tmp_path / "predictions.csv")
    assert len(predictions) == 3 * 6 + 2 * 6
    known = [r for r in predictions if r["origin"] in found.model.origins]
    accepted = [r for r in known if r["answer"] != "unknown"]
    assert len(accepted) / len(known) == found.evaluation.acceptance_rate
    right = sum(r["answer"] in (r["origin"], "unknown" * (r not in known)) for r in predictions)
    assert right / len(predictions) == pytest.approx(found.evaluation.open_accuracy)
    for r in predictions:
        assert sum(float(r[f"p({o})"]) for o in found.model.origins) == pytest.approx(1)
        assert (r["answer"] == "unknown") == (float(r["score"]) < found.model.threshold)


def test_the_report_names_every_generator_the_protocol_and_the_record(
    make_fit: Make, tmp_path: Path
) -> None:
    found = make_fit(protocol="paper", notes=("two files were left out",))
    write_fit(found, tmp_path)
    text = (tmp_path / "report.md").read_text()
    for needed in (
        "# mine: knn head",
        "Protocol `paper`: 18 known and 12 unknown test images",
        f"> {PAPER_CAVEAT}",
        "> two files were left out",
        f"**block {found.block}**",
        f"{found.model.threshold:.6g}",
        found.model.data_hash,
        found.model.encoder["weights_hash"],
        *(f"| {name} | 6 |" for name in ("ddpm", "flow", "real", "gan", "vae")),
        *(f"(plots/{p.name})" for p in (tmp_path / "plots").iterdir()),
    ):
        assert needed in text, needed
    for row in headline_rows(found.evaluation):
        assert f"| {row['metric']} | {row['%']} |" in text
    assert "\n\n\n" not in text
    assert "nan" not in text.lower().replace("unknown", "")


@pytest.mark.usefixtures("without_plots")
def test_clean_s_note_is_in_the_report(make_fit: Make, tmp_path: Path) -> None:
    found = make_fit()
    write_fit(found, tmp_path)
    assert f"> {found.protocol.notes[0]}" in (tmp_path / "report.md").read_text()


ALL_PLOTS = {"confusion", "reliability", "scores", "blocks", "embedding", "roc", "oscr"}


@pytest.mark.parametrize(
    ("known", "unknown", "plots"),
    [
        (("real", "gan", "vae"), ("flow", "ddpm"), ALL_PLOTS),
        (("real", "gan"), (), ALL_PLOTS - {"roc", "oscr"}),
        (("real", "gan"), ("flow",), ALL_PLOTS),
        (
            ("real", *(f"known_generator_{i}" for i in range(14))),
            tuple(f"unknown_generator_{i}" for i in range(20)),
            ALL_PLOTS,
        ),
        (("real", "a|b", "_hidden", "$x^$"), ("50 %", "<b>&amp;"), ALL_PLOTS),
    ],
    ids=["usual", "no unknown", "one unknown", "many", "odd names"],
)
def test_every_plot_shows_something_and_nothing_warns(
    make_fit: Make,
    tmp_path: Path,
    known: tuple[str, ...],
    unknown: tuple[str, ...],
    plots: set[str],
) -> None:
    found = make_fit(known, unknown, images=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_fit(found, tmp_path)
    check_plots(tmp_path, plots)
    strict((tmp_path / "results.json").read_text())
    text = (tmp_path / "report.md").read_text()
    for name in (*known, *unknown):
        assert f"| {name.replace('|', chr(92) + '|')} | 3 |" in text
    if not unknown:
        assert "No unknown test images." in text
        assert rows(tmp_path / "unknown.csv") == []


def test_the_legend_of_many_origins_fits_into_the_figure(make_fit: Make) -> None:
    found = make_fit([f"known_{i}" for i in range(15)], [f"new_{i}" for i in range(30)], images=2)
    figure = fit_plots(found, "k")["embedding"]
    # As when it is saved: the layout is settled before the picture is drawn.
    figure.draw_without_rendering()
    box = figure.axes[0].get_legend().get_window_extent()
    assert len(figure.axes[0].get_legend().get_texts()) == 45
    assert box.y0 >= 0
    assert box.y1 <= figure.bbox.height
    assert box.x1 <= figure.bbox.width


def test_scores_that_are_all_one_are_no_hindrance(make_fit: Make, tmp_path: Path) -> None:
    found = make_fit(values=(1,))
    assert set(found.known.scores) == {1.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_fit(found, tmp_path)
    check_plots(tmp_path, ALL_PLOTS)


@pytest.mark.parametrize("name", ["roc", "oscr"])
def test_a_curve_of_no_area_is_labeled_zero(make_fit: Make, name: str) -> None:
    found = make_fit()
    assert found.evaluation.detection is not None
    zero = replace(
        found,
        evaluation=replace(
            found.evaluation, oscr=0.0, detection=replace(found.evaluation.detection, auroc=0.0)
        ),
    )
    (ax,) = fit_plots(zero, "k")[name].axes
    assert any(" 0.0 %" in text.get_text() for text in ax.get_legend().get_texts())


@pytest.mark.usefixtures("without_plots")
def test_skipped_files_are_listed_and_an_older_list_is_removed(
    make_fit: Make, tmp_path: Path
) -> None:
    found = make_fit()
    write_fit(replace(found, skipped=("a.png: not an image", "b.png: empty")), tmp_path)
    assert (tmp_path / "skipped.txt").read_text() == "a.png: not an image\nb.png: empty\n"
    assert "**2 files were not readable**" in (tmp_path / "report.md").read_text()
    write_fit(found, tmp_path)
    assert not (tmp_path / "skipped.txt").exists()
    assert "not readable" not in (tmp_path / "report.md").read_text()


def test_a_full_disk_while_plotting_leaves_model_and_figures(
    make_fit: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    found = make_fit()
    monkeypatch.setattr(tested_report_module, "save_figure", full)
    with pytest.raises(OSError, match="No space left"):
        write_fit(found, tmp_path)
    assert load_model(tmp_path).value == found.model.hyperparameter
    strict((tmp_path / "results.json").read_text())


def test_what_is_no_json_number_is_null() -> None:
    value = {"a": float("nan"), "b": [float("inf"), (1.5, None)], "c": "ü"}
    assert strict(to_json(value)) == {"a": None, "b": [None, [1.5, None]], "c": "ü"}


def test_headline_rows_show_percent_and_a_dash_where_there_is_none(make_fit: Make) -> None:
    shown = {r["metric"]: r["%"] for r in headline_rows(make_fit(unknown=()).evaluation)}
    assert shown["AUROC, known against unknown"] == "–"
    assert shown["Unknown images rejected at the threshold"] == "–"
    closed = make_fit()
    shown = {r["metric"]: r["%"] for r in headline_rows(closed.evaluation)}
    assert shown["Closed-set accuracy"] == f"{100 * closed.evaluation.closed.accuracy:.2f}"


def test_a_generator_s_row_is_in_percent_or_as_rates(make_fit: Make) -> None:
    result = make_fit().evaluation.unknown[0]
    assert unknown_generator_row(result)["AUROC"] == f"{100 * result.detection.auroc:.2f}"
    assert unknown_generator_row(result, digits=False)["AUROC"] == result.detection.auroc
    # A score need not lie in [0, 1]: it is no percentage.
    assert float(unknown_generator_row(result)["mean score"]) == pytest.approx(
        result.mean_score, rel=1e-3
    )
    assert unknown_generator_row(result)["share"] == f"{100 * result.top_prediction_share:.2f}"
