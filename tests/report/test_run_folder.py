"""Run folder: all files agree with the evaluation."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whichgen.report.run_folder as run_folder_module
from whichgen.errors import DataError
from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.protocols import PAPER_CAVEAT
from whichgen.evaluation.source_counts import count_by_source
from whichgen.evaluation.training_sources import SourceOverlap
from whichgen.evaluation.unknown_detection import compute_roc_curve
from whichgen.io.result_files import format_rate
from whichgen.models.saved_model import load_model
from whichgen.report.figures.image_map import plot_image_map
from whichgen.report.figures.open_set import plot_curve
from whichgen.report.figures.run_plots import plot_run
from whichgen.report.result_tables import tabulate_metrics
from whichgen.report.run_folder import write_run
from whichgen.report.run_reader import ImageMap, read_low_data, read_run
from whichgen.report.run_warnings import CHANCE_WARNING, list_warnings

from .conftest import MakeFit, MakeFusion, check_plots, read_rows, strict_json

ALL_PLOTS = {
    *("confusion_closed", "confusion_open", "reliability", "scores", "blocks"),
    *("embedding", "roc", "oscr"),
}


@pytest.mark.usefixtures("no_plots")
def test_results_agree_with_the_evaluation(make_fit: MakeFit, tmp_path: Path) -> None:
    result = make_fit(groups={"pair": ("flow", "ddpm")})
    write_run(result, tmp_path)
    results = strict_json((tmp_path / "results.json").read_text())
    assert results["test"] == json.loads(json.dumps(asdict(result.evaluation)))
    assert [u["name"] for u in results["test"]["unknown"]] == ["ddpm", "flow"]
    assert [g["name"] for g in results["test"]["groups"]] == ["pair"]
    assert results["selection"] == {
        "metric": "AUC",
        "block": result.block,
        "parameter": "k",
        "value": result.model.hyperparameter,
    }
    assert results["threshold"] == {
        "value": result.model.threshold,
        "tpr": 0.95,
        "tpr_interval": list(result.tpr_interval),
        "images": len(result.model.calibration.labels),
    }
    assert results["run_metadata"] == result.model.run_metadata
    assert results["protocol"]["name"] == "clean"
    assert [b["test_oscr"] for b in results["blocks"]] == [b.test_oscr for b in result.blocks]
    assert [b["value"] for b in results["blocks"]] == [b.value for b in result.blocks]
    assert load_model(tmp_path).threshold == result.model.threshold


@pytest.mark.usefixtures("no_plots")
def test_run_reader_restores_the_result(make_fit: MakeFit, tmp_path: Path) -> None:
    result = make_fit(groups={"pair": ("flow", "ddpm")})
    run = read_run(write_run(result, tmp_path))
    assert run.results.test == result.evaluation
    assert run.threshold == result.model.threshold
    for predictions, expected in ((run.known, result.known), (run.unknown, result.unknown)):
        for name in ("scores", "probabilities"):
            a, b = getattr(predictions, name), getattr(expected, name)
            np.testing.assert_array_equal(np.sort(a, axis=0), np.sort(b, axis=0))


@pytest.mark.usefixtures("no_plots")
def test_csv_files_have_a_row_per_candidate_and_image(make_fit: MakeFit, tmp_path: Path) -> None:
    result = make_fit()
    write_run(result, tmp_path)
    grid = read_rows(tmp_path / "grid.csv")
    assert [(int(r["block"]), float(r["value"])) for r in grid] == [
        (b, v) for b in (0, 1) for v in (1.0, 2.0, 3.0)
    ]
    assert [float(r["auroc"]) for r in grid] == [c.auroc for c in result.grid]
    predictions = read_rows(tmp_path / "predictions.csv")
    assert len(predictions) == 3 * 6 + 2 * 6
    assert [r["coarse_origin"] for r in predictions] == list(result.answers)
    known = [r for r in predictions if r["origin"] in result.model.origins]
    accepted = [r for r in known if r["answer"] != "unknown"]
    assert len(accepted) / len(known) == result.evaluation.acceptance_rate
    correct = sum(r["answer"] in (r["origin"], "unknown" * (r not in known)) for r in predictions)
    assert correct / len(predictions) == pytest.approx(result.evaluation.open_accuracy)
    for r in predictions:
        assert sum(float(r[f"p({o})"]) for o in result.model.origins) == pytest.approx(1)
        assert (r["answer"] == "unknown") == (float(r["score"]) < result.model.threshold)


@pytest.mark.usefixtures("no_plots")
def test_report_states_whether_test_sources_are_new(make_fit: MakeFit, tmp_path: Path) -> None:
    new = make_fit(sources=3)
    run = read_run(write_run(new, tmp_path / "new"))
    assert run.results.test.source_overlap == SourceOverlap(15, 0)
    assert run.source_results == count_by_source(
        Predictions.concatenate([new.known, new.unknown]), new.answers, new.model.origins
    )
    assert sum(result.images for result in run.source_results) == 30
    text = (tmp_path / "new" / "report.md").read_text()
    assert "from 15 new sources." in text
    assert "intervals over the 15 test sources" in text
    assert "| real | test-real-0 | 2 |" in text
    assert "Optimistic" not in text
    assert not any("sources" in message for message in list_warnings(run))

    run = read_run(write_run(make_fit(sources=3, protocol="paper"), tmp_path / "paper"))
    assert (
        "Optimistic: the model was also trained on images from 9 of the 15 test sources"
        in " ".join(list_warnings(run))
    )
    assert (
        "**Optimistic: the model was also trained on images from 9 of the 15 test sources"
        in (tmp_path / "paper" / "report.md").read_text()
    )


@pytest.mark.usefixtures("no_plots")
def test_pooled_images_of_a_fusion_with_sources_are_listed_once(
    make_fusion: MakeFusion, tmp_path: Path
) -> None:
    result = make_fusion(sources=3)
    run = read_run(write_run(result, tmp_path))
    assert run.results.images["train"] == run.results.images["val"] == dict.fromkeys(run.origins, 6)
    exemplars = result.model.exemplars
    assert exemplars.held_out.tolist().count(True) == 18
    assert len(np.unique(exemplars.features, axis=0)) == len(exemplars.labels) == 36
    # Each image was held out once.
    assert run.results.threshold.images == 36
    text = (tmp_path / "report.md").read_text()
    assert "of the 36 held-out known images" in text


def test_report_names_generators_protocol_and_record(make_fit: MakeFit, tmp_path: Path) -> None:
    result = make_fit(protocol="paper", notes=("two files were left out",))
    write_run(result, tmp_path)
    text = (tmp_path / "report.md").read_text()
    for expected in (
        f"# mine: knn head on block {result.block}",
        "protocol `paper`",
        "18 images of known origins and 12 images of 2 unknown generators (ddpm and flow)",
        f"> {PAPER_CAVEAT}",
        "> two files were left out",
        f"{result.model.threshold:.6g}",
        "of the 18 known validation images",
        result.model.data_hash,
        result.model.encoder["weights_hash"],
        *(f"| {name} | 6 |" for name in ("ddpm", "flow", "real", "gan", "vae")),
        *(f"(plots/{p.name})" for p in (tmp_path / "plots").iterdir()),
    ):
        assert expected in text, expected
    for row in tabulate_metrics(result.evaluation, result.intervals):
        assert f"| {' | '.join(str(cell) for cell in row.values())} |" in text
    assert "\n\n\n" not in text
    assert not re.search(r"\bnan\b", text)


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
@pytest.mark.filterwarnings("error")
def test_report_and_plots_for_all_kinds_of_origins(
    make_fit: MakeFit,
    tmp_path: Path,
    known: tuple[str, ...],
    unknown: tuple[str, ...],
    plots: set[str],
) -> None:
    write_run(make_fit(known, unknown, images=3), tmp_path)
    check_plots(tmp_path, plots)
    strict_json((tmp_path / "results.json").read_text())
    text = (tmp_path / "report.md").read_text()
    for name in (*known, *unknown):
        assert f"| {name.replace('|', chr(92) + '|')} | 3 |" in text
    if not unknown:
        assert "**There are no unknown test images, so" in text


@pytest.mark.usefixtures("no_plots")
def test_legend_of_many_origins_fits_into_the_figure(make_fit: MakeFit, tmp_path: Path) -> None:
    result = make_fit([f"known_{i}" for i in range(15)], [f"new_{i}" for i in range(30)], images=2)
    plot = plot_image_map(read_run(write_run(result, tmp_path)))
    assert plot
    plot.figure.draw_without_rendering()
    legend = plot.figure.axes[0].get_legend()
    assert legend
    box = legend.get_window_extent()
    assert len(legend.get_texts()) == 45
    assert box.y0 >= 0
    assert box.y1 <= plot.figure.bbox.height
    assert box.x1 <= plot.figure.bbox.width


@pytest.mark.usefixtures("no_plots")
def test_model_no_better_than_chance_is_a_warning(make_fit: MakeFit, tmp_path: Path) -> None:
    run = read_run(write_run(make_fit(images=9), tmp_path))
    interval, test = run.results.intervals["macro_recall"], run.results.test
    for low, auroc, weak in ((0.34, 0.5, False), (0.33, 0.5, True), (0.34, 0.0, True)):
        assert test.detection
        detection = replace(test.detection, auroc=auroc)
        update = {
            "intervals": {"macro_recall": replace(interval, low=low)},
            "test": replace(test, detection=detection),
        }
        changed = replace(run, results=run.results.model_copy(update=update))
        assert (CHANCE_WARNING in list_warnings(changed)) == weak


@pytest.mark.filterwarnings("error")
def test_plots_of_scores_that_are_all_one(make_fit: MakeFit, tmp_path: Path) -> None:
    result = make_fit(values=(1,))
    assert set(result.known.scores) == {1.0}
    write_run(result, tmp_path)
    check_plots(tmp_path, ALL_PLOTS)


@pytest.mark.usefixtures("no_plots")
def test_curves_and_their_labels_have_the_areas_of_the_evaluation(
    make_fit: MakeFit, tmp_path: Path
) -> None:
    run = read_run(write_run(make_fit(images=9), tmp_path))
    test = run.results.test
    assert test.detection is not None and test.oscr is not None
    for plot, area in (
        (plot_curve({"": run}, "roc"), test.detection.auroc),
        (plot_curve({"": run}, "oscr"), test.oscr),
    ):
        assert plot
        curves = {str(line.get_label()): line for line in plot.figure.axes[0].get_lines()}
        (label,) = (label for label in curves if label.startswith("all unknown"))
        assert label.endswith(f" {format_rate(area)} %)")
        x, y = np.asarray(curves[label].get_data())
        assert np.trapezoid(y, x) == pytest.approx(area)
        assert plot.rows[-1]["unknown images"] == "all unknown"
    fpr, tpr = compute_roc_curve(run.known.scores, run.unknown.scores)
    plot = plot_curve({"": run}, "roc")
    assert plot and plot.rows[-1]["TPR at 20 % FPR"] == format_rate(float(tpr[fpr <= 0.2].max()))


@pytest.mark.usefixtures("no_plots")
def test_figures_show_the_counts_of_the_predictions(make_fit: MakeFit, tmp_path: Path) -> None:
    run = read_run(write_run(make_fit(images=9), tmp_path))
    plots = {plot.name: plot for plot in plot_run(run)}
    table = {row["true origin"]: row for row in plots["confusion_open"].rows}
    predictions = read_rows(tmp_path / "predictions.csv")
    for origin in ("real", "flow"):
        of_origin = [r["answer"] for r in predictions if r["origin"] == origin]
        assert table[origin]["→ unknown"] == of_origin.count("unknown")
        assert table[origin]["→ gan"] == of_origin.count("gan")
    assert sum(row["images"] for row in plots["reliability"].rows) == 27
    offsets = np.concatenate(
        [np.asarray(c.get_offsets()) for c in plots["embedding"].figure.axes[0].collections]
    )
    points = [[float(r["x"]), float(r["y"])] for r in read_rows(tmp_path / "embedding.csv")]
    assert sorted(map(tuple, offsets.tolist())) == sorted(map(tuple, points))


@pytest.mark.usefixtures("no_plots")
def test_skipped_files_are_those_of_the_last_run(make_fit: MakeFit, tmp_path: Path) -> None:
    result = make_fit()
    train = result.features.tables["train"]
    skipped = replace(train, skipped=("a.png: not an image", "b.png: empty"))
    features = replace(result.features, tables={**result.features.tables, "train": skipped})
    write_run(replace(result, features=features), tmp_path)
    assert (tmp_path / "skipped.txt").read_text() == "a.png: not an image\nb.png: empty\n"
    assert "**Unreadable files skipped: 2." in (tmp_path / "report.md").read_text()
    write_run(result, tmp_path)
    assert not (tmp_path / "skipped.txt").exists()
    assert "Unreadable files" not in (tmp_path / "report.md").read_text()


def test_full_disk_while_plotting_keeps_model_and_results(
    make_fit: MakeFit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    result = make_fit()
    monkeypatch.setattr(run_folder_module, "save_png", fail)
    with pytest.raises(OSError, match="No space left"):
        write_run(result, tmp_path)
    assert load_model(tmp_path).hyperparameter == result.model.hyperparameter
    strict_json((tmp_path / "results.json").read_text())


def test_headline_rows_have_percentages_image_counts_and_dashes(make_fit: MakeFit) -> None:
    evaluation = make_fit(unknown=()).evaluation
    rows = {r["metric"]: r for r in tabulate_metrics(evaluation)}
    assert rows["Closed-set accuracy"]["%"] == f"{100 * evaluation.closed.accuracy:.1f}"
    assert rows["Closed-set accuracy"]["images"] == 18
    assert rows["AUROC, known vs. unknown"]["%"] == "–"
    assert rows["Unknown images rejected at the threshold"]["%"] == "–"


@pytest.fixture
def run_folder(make_fit: MakeFit, no_plots: None, tmp_path: Path) -> Path:
    """The folder of a small k-NN run."""
    return write_run(make_fit(), tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("results.json", None, "results.json not found. Specify the run folder of"),
        ("results.json", '{"test": ', "results.json is damaged"),
        ("results.json", "[]", "does not have the format of whichgen .*top level"),
        ("results.json", '{"run_metadata": {"whichgen": 1}}', r"run_metadata\.config"),
        ("predictions.csv", None, "predictions.csv"),
        ("embedding.csv", None, "embedding.csv not found"),
        ("embedding.csv", "path,origin,x,y\na,real,1,far\n", "embedding.csv is damaged"),
        ("robustness.json", '{"points": [{}]}', r"robustness.json .*points\.0"),
    ],
)
def test_damaged_run_is_reported(
    run_folder: Path, name: str, text: str | None, message: str
) -> None:
    if text is None:
        (run_folder / name).unlink()
    else:
        (run_folder / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_run(run_folder)


def test_results_and_predictions_of_different_runs_are_rejected(
    run_folder: Path, make_fit: MakeFit, tmp_path: Path
) -> None:
    other = write_run(make_fit(images=7), tmp_path / "other")
    (run_folder / "predictions.csv").write_bytes((other / "predictions.csv").read_bytes())
    with pytest.raises(DataError, match="belong to different runs"):
        read_run(run_folder)
    with pytest.raises(DataError, match=r"lowdata.json not found"):
        read_low_data(run_folder)


def test_small_test_sets_have_no_map(run_folder: Path) -> None:
    (run_folder / "embedding.csv").write_text("")
    run = read_run(run_folder)
    assert isinstance(run.image_map, ImageMap) and not len(run.image_map.paths)
    assert "embedding" not in {plot.name for plot in plot_run(run)}


def test_json_output_replaces_nonfinite_numbers(tmp_path: Path) -> None:
    write: Callable[[Path, Any], None] = run_folder_module.write_json
    write(tmp_path / "a.json", {"a": float("nan"), "b": [float("inf"), (1.5, None)], "c": "ü"})
    record = strict_json((tmp_path / "a.json").read_text())
    assert record == {"a": None, "b": [None, [1.5, None]], "c": "ü"}
