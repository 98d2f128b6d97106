"""HTML page: correct metrics, escaped names and no network access."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import precision_recall_fscore_support

from whichgen.data.images.perturbations import Perturbation
from whichgen.experiments.low_data import LowDataPoint
from whichgen.experiments.robustness import RobustnessPoint
from whichgen.io.result_files import format_rate
from whichgen.report.experiment_reports import write_experiment, write_robustness
from whichgen.report.figures.experiment_curves import plot_low_data
from whichgen.report.html_page import write_html_page
from whichgen.report.run_folder import write_run
from whichgen.report.run_reader import read_low_data, read_run

from .conftest import MakeFit, MakeFusion, read_rows

pytestmark = pytest.mark.usefixtures("no_plots")

HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=https://evil.example/x onerror=alert(2)>',
    '<a href="https://evil.example">$real$</a>',
)


@dataclass
class Page(HTMLParser):
    """Parser that collects tags, scripts, tables and text of a page."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    text: str = ""
    style: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._inside = self._script = self._region = ""
        self._rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag in ("script", "style"):
            self._inside = tag
            self._script = attributes.get("id") or ""
            if tag == "script" and attributes.get("type") != "application/json":
                self.scripts.append("")
        if attributes.get("role") == "region":
            self._region = attributes["aria-label"] or ""
        if tag == "table":
            self._rows = []
        if tag == "tr":
            self._rows.append([])
        if tag in ("th", "td"):
            self._rows[-1].append("")
            self._inside = "cell"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style", "th", "td"):
            self._inside = ""
        if tag == "table":
            head, *body = self._rows
            rows = [dict(zip(head, row, strict=True)) for row in body]
            self.tables.setdefault(self._region, rows)

    def handle_data(self, data: str) -> None:
        if self._inside == "script" and self._script:
            self.data[self._script] = json.loads(data)
        elif self._inside == "script":
            self.scripts[-1] += data
        elif self._inside == "style":
            self.style += data
        else:
            self.text += data
            if self._inside == "cell":
                self._rows[-1][-1] += data

    def images(self, alt: str) -> list[str]:
        """Return the sources of images with this alternative text."""
        return [a.get("src") or "" for tag, a in self.tags if tag == "img" and a["alt"] == alt]


def read_page(*folders: Path, **options: Any) -> Page:
    """Write the page of the runs and parse it."""
    file = folders[0] / "report.html"
    write_html_page([read_run(folder) for folder in folders], file, **options)
    page = Page()
    page.feed(file.read_text(encoding="utf-8"))
    page.close()
    page.text = " ".join(page.text.split())
    return page


@pytest.fixture
def run(make_fit: MakeFit, tmp_path: Path) -> Path:
    """Write a small k-NN run without images and return its folder."""
    return write_run(make_fit(images=9), tmp_path / "run")


@pytest.fixture
def run_with_images(run: Path, noise: Callable[..., Image.Image], tmp_path: Path) -> Path:
    """Add the test images, with EXIF data, to the run."""
    for name in ("predictions.csv", "embedding.csv"):
        text = (run / name).read_text()
        (run / name).write_text(re.sub(r"(?m)^/(test\w*)/", rf"{tmp_path}/\1/", text))
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    for i, row in enumerate(read_rows(run / "predictions.csv")):
        path = Path(row["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(i, (200, 100)).save(path, exif=exif)
    return run


def test_key_metrics_and_intervals_are_those_of_the_results(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    page = read_page(run)
    test = results["test"]
    for title, key, value in (
        ("Closed-set accuracy", "accuracy", test["closed"]["accuracy"]),
        ("Macro F1", "macro_f1", test["closed"]["macro_f1"]),
        ("AUROC, known vs. unknown", "auroc", test["detection"]["auroc"]),
        ("OSCR", "oscr", test["oscr"]),
        (
            "Unknown rejected, 95 % known accepted (TNR)",
            "tnr_at_tpr95",
            test["detection"]["tnr_at_tpr95"],
        ),
    ):
        interval = results["intervals"][key]
        bounds = f"{format_rate(interval['low'])} – {format_rate(interval['high'])}"
        assert f"{title} {format_rate(value)} % {bounds}" in page.text
        (row,) = (row for row in page.tables["All metrics"] if row["metric"] == title)
        assert (row["%"], row["95 % interval"]) == (format_rate(value), bounds)
    assert "one of 3 known origins (real, gan and vae) or to “unknown”" in page.text
    assert results["run_metadata"]["encoder"]["weights_hash"] in page.text
    assert results["run_metadata"]["data_hash"] in page.text


def test_tables_of_origins_and_generators_agree_with_the_predictions(run: Path) -> None:
    page = read_page(run)
    origins = ["real", "gan", "vae"]
    known = [row for row in read_rows(run / "predictions.csv") if row["origin"] in origins]
    predicted = [max(origins, key=lambda o: float(row[f"p({o})"])) for row in known]
    expected = precision_recall_fscore_support(
        [row["origin"] for row in known], predicted, labels=origins, zero_division=0
    )
    for i, row in enumerate(page.tables["Known origins, in percent"]):
        assert (row["origin"], row["images"]) == (origins[i], "9")
        for name, values in zip(("precision", "recall", "F1"), expected, strict=False):
            assert row[name] == format_rate(values[i]), (origins[i], name)
        accepted = [r["answer"] != "unknown" for r in known if r["origin"] == origins[i]]
        assert row["accepted"] == format_rate(float(np.mean(accepted)))
    results = json.loads((run / "results.json").read_text())
    for row, result in zip(
        page.tables["Unknown generators, in percent"], results["test"]["unknown"], strict=True
    ):
        assert row["unknown"] == result["name"]
        assert row["AUROC"] == format_rate(result["detection"]["auroc"])
        assert row["OSCR"] == format_rate(result["oscr"])
        assert row["nearest known origin"] == result["top_prediction"]
        assert float(row["mean score"]) == pytest.approx(result["mean_score"], rel=1e-3)
    splits = {row["origin"]: row for row in page.tables["Images per origin and split"]}
    assert splits["gan"] == {
        **{"origin": "gan", "type": "known", "train": "9", "val": "9", "val_unknown": "0"},
        **{"test": "9", "test_unknown": "0"},
    }
    assert splits["ddpm"]["test_unknown"] == "9"


@pytest.mark.usefixtures("no_plots")
def test_sources_have_a_section_if_they_are_known(make_fit: MakeFit, tmp_path: Path) -> None:
    folder = write_run(make_fit(sources=3, images=9), tmp_path / "by-source")
    page = read_page(folder)
    assert "not trained on images from the 15 test sources" in page.text
    rows = page.tables["Images per source"]
    assert len(rows) == 15
    predictions = read_rows(folder / "predictions.csv")
    for row in rows:
        same = [p for p in predictions if p["source"] == row["source"]]
        assert {p["origin"] for p in same} == {row["origin"]}
        assert row["images"] == str(len(same)) == "3"
        synthetic = [p for p in same if p["coarse_origin"] not in ("real", "unknown")]
        assert row["called synthetic"] == str(len(synthetic))
    answers = {row["metric"]: row for row in page.tables["Answers, in percent"]}
    synthetic = [p for p in predictions if p["origin"] != "real"]
    wrong = [p for p in synthetic if p["coarse_origin"] in ("real", "unknown")]
    row = answers["Synthetic images called synthetic"]
    assert row["%"] == format_rate(1 - len(wrong) / len(synthetic))
    assert row["images"] == str(len(synthetic))

    page = read_page(write_run(make_fit(), tmp_path / "without"))
    assert "Images per source" not in page.tables


def test_map_points_show_each_image_with_its_prediction(run: Path) -> None:
    page = read_page(run)
    points = page.data["run1-map-points"]
    predictions = {row["path"]: row for row in read_rows(run / "predictions.csv")}
    rows = read_rows(run / "embedding.csv")
    assert len(points) == len(rows) == 45
    for (_, _, text, thumbnail), row in zip(points, rows, strict=True):
        prediction = predictions[row["path"]]
        score = float(prediction["score"])
        answer = prediction["answer"]
        assert text == f"true: {row['origin']}\npredicted: {answer}\nscore: {score:.9g}"
        assert thumbnail == -1
    xy = np.array([point[:2] for point in points])
    assert (xy > 0).all() and (xy < 1).all()
    # Positions are an affine map of the coordinates, with y downward.
    for i, key, sign in ((0, "x", 1), (1, "y", -1)):
        values = np.array([float(row[key]) for row in rows])
        assert sign * np.corrcoef(values, xy[:, i])[0, 1] == pytest.approx(1, abs=1e-4)


def test_hostile_names_stay_text(make_fit: MakeFit, tmp_path: Path) -> None:
    folder = write_run(make_fit(("real", *HOSTILE[:2]), (HOSTILE[2], "{{ 7 * 7 }}")), tmp_path)
    plain = read_page(write_run(make_fit(), tmp_path / "plain"))
    page = read_page(folder)
    counts = [sum(tag == "script" for tag, _ in p.tags) for p in (plain, page)]
    assert counts[0] == counts[1]
    assert len(page.scripts) == 1
    assert not any(tag == "a" and "evil" in (a["href"] or "") for tag, a in page.tags)
    assert not any(key.startswith("on") for _, a in page.tags for key in a)
    assert [row["origin"] for row in page.tables["Known origins, in percent"]][1:] == [*HOSTILE[:2]]
    names = {row["unknown"] for row in page.tables["Unknown generators, in percent"]}
    assert names == {HOSTILE[2], "{{ 7 * 7 }}"}


def test_page_loads_nothing_and_runs_only_its_own_script(run_with_images: Path) -> None:
    page = read_page(run_with_images)
    local = ("data:image/webp;base64,", "data:image/svg+xml;base64,", "#")
    for tag, attributes in page.tags:
        for key in ("src", "href", "action", "data", "poster", "srcset"):
            if key in attributes:
                assert (attributes[key] or "").startswith(local), tag
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
    assert "url(" not in page.style and "@import" not in page.style
    (policy,) = (
        a["content"] or "" for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    (script,) = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"


def test_thumbnails_are_small_copies_without_metadata(run_with_images: Path) -> None:
    page = read_page(run_with_images)
    uris = page.data["thumbnails"]
    assert len(uris) == len(read_rows(run_with_images / "embedding.csv"))
    for uri in uris:
        data = base64.b64decode(uri.removeprefix("data:image/webp;base64,"))
        assert b"secret" not in data
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == (96, 48)
    assert {point[3] for point in page.data["run1-map-points"]} == set(range(len(uris)))
    errors = [src for src in page.images("") if src]
    assert errors and set(errors) <= set(uris)


def test_most_confident_errors_come_first(run_with_images: Path) -> None:
    threshold = json.loads((run_with_images / "results.json").read_text())["threshold"]["value"]
    accepted = sorted(
        (
            float(row["score"])
            for row in read_rows(run_with_images / "predictions.csv")
            if row["origin"] in ("flow", "ddpm") and float(row["score"]) >= threshold
        ),
        reverse=True,
    )
    text = read_page(run_with_images).text
    errors = text.split("Unknown images mistaken for a known origin")[1].split("Shortcut check")[0]
    scores = [float(score) for score in re.findall(r"score: ([\d.e+-]+)", errors)]
    assert scores == pytest.approx(accepted[:12])
    assert "flow/" in errors and str(run_with_images.parent) not in errors


def test_missing_and_unwanted_images_are_left_out(run_with_images: Path) -> None:
    page = read_page(run_with_images, images=False)
    assert page.data["thumbnails"] == []
    assert "Images are not shown (--no-images)" in page.text
    first, second, *_ = read_rows(run_with_images / "embedding.csv")
    Path(first["path"]).write_bytes(b"not an image")
    Path(second["path"]).unlink()
    page = read_page(run_with_images)
    assert len(page.data["thumbnails"]) == len(read_rows(run_with_images / "embedding.csv")) - 2
    assert "Missing or unreadable images: 2" in page.text


def test_several_runs_are_compared(
    run: Path, make_fusion: MakeFusion, make_fit: MakeFit, tmp_path: Path
) -> None:
    fusion = write_run(make_fusion(images=9), tmp_path / "fusion")
    page = read_page(run, fusion)
    labels = ["1: knn, counting", "2: fusion, counting"]
    table = {row["metric, %"]: row for row in page.tables["Comparison of runs, in percent"]}
    for label, folder in zip(labels, (run, fusion), strict=True):
        results = json.loads((folder / "results.json").read_text())
        assert table["OSCR"][label].split(" ")[0] == format_rate(results["test"]["oscr"])
    curves = page.tables["Open-set classification rate (OSCR)"]
    assert [row["run"] for row in curves] == labels
    assert "tested on different images" not in page.text
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert {"run1-roc", "run2-roc", "all-roc"} <= set(ids) and len(ids) == len(set(ids))
    other = write_run(make_fit(images=7), tmp_path / "other")
    assert "tested on different images" in read_page(run, other).text


def test_fusion_has_members_and_scores_instead_of_blocks(
    make_fusion: MakeFusion, tmp_path: Path
) -> None:
    result = make_fusion(images=9)
    page = read_page(write_run(result, tmp_path))
    members = page.tables["Fusion members, in percent"]
    assert [row["members"] for row in members] == [c.members for c in result.members]
    assert [row["test OSCR"] for row in members] == [
        format_rate(c.test_oscr) for c in result.members
    ]
    scores = {row["score"] for row in page.tables["Open-set scores, in percent"]}
    assert scores == {"max_logit", "energy"}
    assert not any(a.get("id") == "run1-blocks" for _, a in page.tags)
    assert "fusion of " in page.text


def test_run_without_unknown_images_has_no_open_set_figures(
    make_fit: MakeFit, tmp_path: Path
) -> None:
    page = read_page(write_run(make_fit(unknown=()), tmp_path))
    assert "There are no unknown test images, so this run does not measure" in page.text
    assert not any(a.get("id") == "run1-roc" for _, a in page.tags)
    assert len(page.tables["Confusion matrix with rejection"]) == 3
    assert not re.search(r"\bnan\b", page.text)


def test_robustness_and_low_data_are_shown_if_measured(
    run: Path, make_fit: MakeFit, tmp_path: Path
) -> None:
    assert "Robustness was not measured" in read_page(run).text
    evaluation = make_fit().evaluation
    points = [
        RobustnessPoint(
            Perturbation("jpeg", q) if q else None, replace(evaluation, oscr=q / 200), ()
        )
        for q in (0, 75, 10)
    ]
    write_robustness(points, {}, run)
    few = [LowDataPoint(n, s, (0,), 1.0, n / 10, 0.5, 0.25) for n in (1, 5) for s in (0, 1)]
    folder = write_experiment(plot_low_data(few), few, {}, tmp_path / "few")
    page = read_page(run, low_data=read_low_data(folder))
    assert [row["OSCR"] for row in page.tables["Robustness"]] == ["0.0", "37.5", "5.0"]
    assert [row["accuracy"] for row in page.tables["Low-data regime"]] == [
        "10.0 ± 0.0",
        "50.0 ± 0.0",
    ]
    assert "Robustness was not measured" not in page.text


def test_failed_checks_and_notes_are_shown(run: Path) -> None:
    shortcuts = {
        "sets": [
            {
                **{"properties": "file", "accuracy": 0.9, "balanced_accuracy": 0.875},
                **{"balanced_accuracy_low": 0.8, "detected": True, "auroc": None, "oscr": None},
            }
        ],
        **{"chance": 0.3, "balanced_chance": 0.3, "warning_level": 0.4},
        **{"message": "Shortcut warning: look!", "skipped": []},
        **{"train_images": 1, "test_images": 1, "unknown_images": 0},
    }
    shuffles = [
        {"seed": s, "accuracy": 0.9, "balanced_accuracy": 0.9, "auroc": None} for s in (0, 1)
    ]
    file = run / "results.json"
    results = json.loads(file.read_text())
    results["shortcut_check"] = shortcuts
    results["shuffled_labels"] = {
        **{"shuffles": shuffles, "chance": 0.33, "mean": 0.9, "p_value": 1e-9}
    }
    results["notes"] = ["two <b>files</b> left out"]
    file.write_text(json.dumps(results))
    page = read_page(run)
    assert page.tables["Shortcut check, in percent"][0]["balanced accuracy"] == "87.5"
    assert page.text.count("Shortcut warning: look!") == 1
    assert "Possible label leak: heads fitted on shuffled labels are" in page.text
    assert "two <b>files</b> left out" in page.text
