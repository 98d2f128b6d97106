"""The page of a run: its numbers are the run's, hostile names are text, nothing is loaded."""

from __future__ import annotations

import base64
import csv
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
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import precision_recall_fscore_support

import whichgen.report.run_folder as fit_report_module
from whichgen.data.perturbations import Perturbation
from whichgen.errors import DataError
from whichgen.experiments.low_data import LowDataPoint
from whichgen.experiments.robustness import RobustnessPoint
from whichgen.io.tables import percent
from whichgen.report.experiment_reports import write_low_data, write_robustness
from whichgen.report.html_page import write_html_page
from whichgen.report.image_map import compute_image_map
from whichgen.report.panels import thinned
from whichgen.report.plots import embedding_plot
from whichgen.report.run_folder import write_fit, write_fusion
from whichgen.report.run_reader import read_low_data, read_run

from .conftest import Make, MakeFused

HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=https://evil.example/x onerror=alert(2)>',
    '<a href="https://evil.example">$real$</a>',
)


@dataclass
class Page(HTMLParser):
    """What a browser would find on a page: tags with attributes, scripts, tables, text."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    text: str = ""
    style: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._inside = ""
        self._script = ""
        self._region = ""
        self._rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag in ("script", "style"):
            self._inside = tag
            self._script = found.get("id") or ""
            if tag == "script" and found.get("type") != "application/json":
                self.scripts.append("")
        if found.get("role") == "region":
            self._region = found["aria-label"] or ""
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

    def figure(self, name: str, prefix: str = "run1") -> Any:
        """A plot's data and layout."""
        return self.data[f"{prefix}-{name}-json"]


def page_of(*folders: Path, **options: Any) -> Page:
    """The page of runs, parsed."""
    file = folders[0] / "report.html"
    write_html_page([read_run(folder) for folder in folders], file, **options)
    found = Page()
    found.feed(file.read_text(encoding="utf-8"))
    found.close()
    return found


def rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with file.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def change(folder: Path, **parts: Any) -> None:
    """Changes parts of a run's results; ``None`` removes one."""
    file = folder / "results.json"
    results = json.loads(file.read_text()) | parts
    file.write_text(json.dumps({k: v for k, v in results.items() if v is not None}))


@pytest.fixture(autouse=True)
def _without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_report_module, "fit_plots", lambda *_: {})


@pytest.fixture
def run(make_fit: Make, tmp_path: Path) -> Path:
    """The folder of a small k-NN run whose images are gone."""
    return write_fit(make_fit(images=9), tmp_path / "run")


@pytest.fixture
def images(run: Path, noise: Callable[..., Image.Image], tmp_path: Path) -> Path:
    """Puts the run's test images where it says they lie; one of them with EXIF."""
    for name in ("predictions.csv", "embedding.csv"):
        text = (run / name).read_text()
        (run / name).write_text(re.sub(r"(?m)^/(test\w*)/", rf"{tmp_path}/\1/", text))
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    for i, row in enumerate(rows(run / "predictions.csv")):
        path = Path(row["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(i, (200, 100)).save(path, exif=exif)
    return run


def test_headline_figures_and_intervals_are_those_of_the_results(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    page = page_of(run)
    test = results["test"]
    values = {
        "Accuracy": (test["closed"]["accuracy"], "accuracy"),
        "Macro F1": (test["closed"]["macro_f1"], "macro_f1"),
        "AUROC": (test["detection"]["auroc"], "auroc"),
        "OSCR": (test["oscr"], "oscr"),
        "TNR at 95 % TPR": (test["detection"]["tnr_at_tpr95"], "tnr_at_tpr95"),
    }
    text = " ".join(page.text.split())
    for name, (value, key) in values.items():
        interval = results["intervals"][key]
        shown = (
            f"{name} {percent(value)} % {percent(interval['low'])} – {percent(interval['high'])}"
        )
        assert shown in text, shown
    (auroc,) = (
        row for row in page.tables["All headline figures"] if row["metric"].startswith("AUROC")
    )
    assert auroc["%"] == percent(test["detection"]["auroc"])
    assert "Which of 3 known origins made an image: real, gan and vae?" in text
    assert results["run_metadata"]["encoder"]["weights_hash"] in text
    assert results["run_metadata"]["data_hash"] in text


def test_origins_and_generators_have_the_figures_of_the_predictions(run: Path) -> None:
    page = page_of(run)
    predicted = rows(run / "predictions.csv")
    origins = ["real", "gan", "vae"]
    known = [row for row in predicted if row["origin"] in origins]
    best = [max(origins, key=lambda o: float(row[f"p({o})"])) for row in known]
    figures = precision_recall_fscore_support(
        [row["origin"] for row in known], best, labels=origins, zero_division=0
    )
    for i, row in enumerate(page.tables["Known origins, in percent"]):
        assert row["origin"] == origins[i]
        assert row["images"] == "9"
        for name, values in zip(("precision", "recall", "F1"), figures, strict=False):
            assert row[name] == percent(values[i]), (origins[i], name)
        kept = [r["answer"] != "unknown" for r in known if r["origin"] == origins[i]]
        assert row["kept at the threshold"] == percent(float(np.mean(kept)))
    results = json.loads((run / "results.json").read_text())
    for row, found in zip(
        page.tables["Unknown generators, in percent"], results["test"]["unknown"], strict=True
    ):
        assert row["unknown"] == found["name"]
        assert row["AUROC"] == percent(found["detection"]["auroc"])
        assert row["OSCR"] == percent(found["oscr"])
        assert row["mostly taken for"] == found["top_prediction"]
        assert float(row["mean score"]) == pytest.approx(found["mean_score"], rel=1e-3)


def test_the_areas_under_the_curves_are_auroc_and_oscr(run: Path) -> None:
    page = page_of(run)
    test = json.loads((run / "results.json").read_text())["test"]
    for name, of in (
        ("roc", lambda found: found["detection"]["auroc"]),
        ("oscr", lambda found: found["oscr"]),
    ):
        traces = {trace["name"]: trace for trace in page.figure(name)["data"]}
        wanted = {found["name"]: of(found) for found in test["unknown"]} | {"all unknown": of(test)}
        assert set(traces) == set(wanted)
        for curve, area in wanted.items():
            x, y = traces[curve]["x"], traces[curve]["y"]
            assert np.trapezoid(y, x) == pytest.approx(area), (name, curve)


def test_matrices_histogram_blocks_and_reliability_show_the_run(run: Path) -> None:
    page = page_of(run)
    results = json.loads((run / "results.json").read_text())
    (closed,) = page.figure("closed")["data"]
    counts = [[cell[2] for cell in row] for row in closed["customdata"]]
    assert counts == results["test"]["closed"]["confusion"]
    assert closed["z"][0][0] == pytest.approx(100 * results["test"]["closed"]["recall"][0])
    (opened,) = page.figure("open")["data"]
    predicted = rows(run / "predictions.csv")
    for line in opened["customdata"]:
        for true, answer, n in line:
            asked = [r for r in predicted if (r["origin"], r["answer"]) == (true, answer)]
            assert n == len(asked), (true, answer)
    bars = page.figure("scores")["data"]
    assert sum(sum(bar["customdata"]) for bar in bars) == len(predicted)
    (shape,) = page.figure("scores")["layout"]["shapes"]
    assert shape["x0"] == results["threshold"]["value"]
    blocks = {trace["name"]: trace["y"] for trace in page.figure("blocks")["data"]}
    assert blocks["OSCR, test"] == [100 * block["test_oscr"] for block in results["blocks"]]
    assert blocks["AUROC, validation"] == [100 * block["val_auroc"] for block in results["blocks"]]
    line = page.figure("reliability")["data"][1]
    assert line["y"] == [a for a in results["calibration"]["accuracy"] if a is not None]
    # Every plot has words and a table beside it.
    for tag, attributes in page.tags:
        if tag == "div" and attributes.get("class") == "plot":
            assert attributes["aria-label"] in page.tables
            assert any(a.get("id") == attributes["aria-describedby"] for _, a in page.tags)


def test_scores_of_a_sure_head_are_told_apart_by_their_nines(run: Path) -> None:
    change(run, threshold={"value": 0.9999, "tpr": 0.95})
    layout = page_of(run).figure("scores")["layout"]
    assert layout["shapes"][0]["x0"] == pytest.approx(4)
    ticks = dict(zip(layout["xaxis"]["tickvals"], layout["xaxis"]["ticktext"], strict=True))
    assert (ticks[2], ticks[4]) == ("0.99", "1−10⁻⁴")


def test_the_map_is_that_of_the_plot_and_of_embedding_csv(make_fit: Make, tmp_path: Path) -> None:
    found = make_fit(images=9)
    folder = write_fit(found, tmp_path / "run")
    kept = {row["path"]: row for row in rows(folder / "embedding.csv")}
    assert len(kept) == 3 * 9 + 2 * 9
    drawn = embedding_plot(found, compute_image_map(found)).axes[0].collections
    offsets = np.concatenate([np.asarray(points.get_offsets()) for points in drawn])
    kept_points = [(float(row["x"]), float(row["y"])) for row in kept.values()]
    np.testing.assert_allclose(sorted(map(tuple, offsets)), sorted(kept_points), rtol=1e-5)
    predicted = {row["path"]: row for row in rows(folder / "predictions.csv")}
    shown = [
        (x, y, *told)
        for trace in page_of(folder).figure("map")["data"]
        for x, y, told in zip(trace["x"], trace["y"], trace["customdata"], strict=True)
    ]
    wanted = [
        (
            round(float(row["x"]), 3),
            round(float(row["y"]), 3),
            row["origin"],
            predicted[path]["answer"],
            float(predicted[path]["score"]),
            -1,
        )
        for path, row in kept.items()
    ]
    for a, b in zip(sorted(shown), sorted(wanted), strict=True):
        assert a[2:] == b[2:]
        assert a[:2] == pytest.approx(b[:2], abs=0.002)


def test_numbers_of_images_of_each_part_are_kept_and_shown(run: Path) -> None:
    page = page_of(run)
    table = {row["origin"]: row for row in page.tables["Images of each origin and part"]}
    assert table["gan"] == {
        **{"origin": "gan", "is": "known", "train": "9", "val": "9", "val, unknown": "0"},
        **{"test": "9", "test, unknown": "0"},
    }
    assert table["ddpm"]["test, unknown"] == "9"


def test_hostile_names_are_text(make_fit: Make, tmp_path: Path) -> None:
    folder = write_fit(make_fit(("real", *HOSTILE[:2]), (HOSTILE[2], "{{ 7 * 7 }}")), tmp_path)
    plain = page_of(write_fit(make_fit(), tmp_path / "plain"))
    page = page_of(folder)
    count = [sum(tag == "script" for tag, _ in found.tags) for found in (plain, page)]
    assert count[0] == count[1]
    assert len(page.scripts) == 2
    assert not any(tag == "a" and "evil" in (a["href"] or "") for tag, a in page.tags)
    assert not any(key.startswith("on") for _, a in page.tags for key in a)
    assert [row["origin"] for row in page.tables["Known origins, in percent"]][1:] == [*HOSTILE[:2]]
    assert "{{ 7 * 7 }}" in page.text and "49" not in {
        row["unknown"] for row in page.tables["Unknown generators, in percent"]
    }
    # plotly takes texts for a kind of HTML, in which links work.
    for name in ("roc", "open", "closed", "map"):
        figure = page.figure(name)
        texts = [trace.get("name", "") for trace in figure["data"]]
        texts += figure["layout"]["xaxis"].get("ticktext", [])
        texts += figure["layout"]["yaxis"].get("ticktext", [])
        texts += [
            cell
            for trace in figure["data"]
            if trace["type"] == "heatmap"
            for line in trace["customdata"]
            for told in line
            for cell in told[:2]
        ]
        assert any("&lt;" in text for text in texts)
        assert not any("<" in text for text in texts), name


def test_nothing_is_loaded_and_no_other_script_may_run(images: Path) -> None:
    page = page_of(images)
    for tag, attributes in page.tags:
        for key in ("src", "href", "action", "data", "poster", "srcset"):
            if key in attributes:
                assert (attributes[key] or "").startswith(("data:image/webp;base64,", "#")), tag
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
    assert "url(" not in page.style and "@import" not in page.style
    (policy,) = (
        a["content"] or "" for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data: blob:"
    digests = {
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in page.scripts
    }
    assert set(rules["script-src"].split()) == digests
    # A navigation is no load: no rule would stop plotly's button that sends the figure away.
    assert "showSendToCloud: false" in page.scripts[1]
    assert 'plotlyServerURL: ""' in page.scripts[1]


def test_images_are_small_copies_without_what_their_files_say(images: Path) -> None:
    page = page_of(images)
    uris = page.data["pictures"]
    assert len(uris) == len(rows(images / "embedding.csv"))
    for uri in uris:
        data = base64.b64decode(uri.removeprefix("data:image/webp;base64,"))
        assert b"secret" not in data
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == (96, 48)
    numbers = {told[3] for trace in page.figure("map")["data"] for told in trace["customdata"]}
    assert numbers == set(range(len(uris)))
    wrong = [a["src"] for tag, a in page.tags if tag == "img" and a.get("src")]
    assert wrong and set(wrong) <= set(uris)


def test_the_errors_are_the_most_confident_ones(images: Path) -> None:
    threshold = json.loads((images / "results.json").read_text())["threshold"]["value"]
    predicted = rows(images / "predictions.csv")
    accepted = sorted(
        (
            float(row["score"])
            for row in predicted
            if row["origin"] in ("flow", "ddpm") and float(row["score"]) >= threshold
        ),
        reverse=True,
    )
    text = " ".join(page_of(images).text.split())
    told = text.split("Unknown images, taken for known")[1].split("Data card")[0]
    scores = [float(score) for score in re.findall(r"score ([\d.e+-]+)", told)]
    assert scores == pytest.approx(accepted[:12])
    assert "flow/" in told and str(images.parent) not in told


def test_images_that_are_gone_or_not_wanted_are_left_out(images: Path, tmp_path: Path) -> None:
    page = page_of(images, images=False)
    assert page.data["pictures"] == []
    assert "Images were left out on request" in page.text
    gone = Path(rows(images / "embedding.csv")[0]["path"])
    gone.write_bytes(b"no image")
    Path(rows(images / "embedding.csv")[1]["path"]).unlink()
    page = page_of(images)
    assert len(page.data["pictures"]) == len(rows(images / "embedding.csv")) - 2
    assert "2 images do not lie where they were tested" in page.text


def test_two_runs_stand_side_by_side(run: Path, make_fused: MakeFused, tmp_path: Path) -> None:
    fused = write_fusion(make_fused(images=9), tmp_path / "fused")
    page = page_of(run, fused)
    labels = ["1: knn, counting", "2: fusion, counting"]
    table = {row["%"]: row for row in page.tables["Headline figures in percent"]}
    for label, folder in zip(labels, (run, fused), strict=True):
        results = json.loads((folder / "results.json").read_text())
        assert table["OSCR"][label].split(" ")[0] == percent(results["test"]["oscr"])
        traces = {t["name"]: t for t in page.figure("oscr", "all")["data"]}
        assert list(traces) == labels
        x, y = traces[label]["x"], traces[label]["y"]
        assert np.trapezoid(y, x) == pytest.approx(results["test"]["oscr"])
    assert "not tested on the same images" not in page.text
    assert {"run1-roc-json", "run2-roc-json", "all-roc-json"} <= set(page.data)
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_runs_on_other_images_are_told_apart(run: Path, make_fit: Make, tmp_path: Path) -> None:
    other = write_fit(make_fit(images=7), tmp_path / "other")
    assert "not tested on the same images" in page_of(run, other).text


def test_a_fusion_shows_its_members_scores_and_no_blocks(
    make_fused: MakeFused, tmp_path: Path
) -> None:
    found = make_fused(images=9)
    page = page_of(write_fusion(found, tmp_path))
    members = page.tables["Sets of members, in percent"]
    assert [row["members"] for row in members] == [c.members for c in found.members]
    assert [row["OSCR"] for row in members] == [percent(c.test_oscr) for c in found.members]
    assert {row["score"] for row in page.tables["Open-set scores, in percent"]} == {
        "max_logit",
        "energy",
    }
    assert "run1-blocks-json" not in page.data
    assert "fusion of " in page.text


def test_an_older_run_is_shown_without_what_it_did_not_keep(run: Path) -> None:
    (run / "embedding.csv").unlink()
    change(run, images=None, calibration=None, hierarchy=None, coverage=None, intervals=None)
    page = page_of(run)
    assert "No map of the test images" in page.text
    assert "No reliability diagram" in page.text
    assert not {"run1-map-json", "run1-reliability-json"} & set(page.data)
    assert page.tables["Images of each origin and part"][0]["test"] == "9"
    assert page.figure("roc")["data"]


def test_without_unknown_images_there_are_no_open_set_figures(
    make_fit: Make, tmp_path: Path
) -> None:
    page = page_of(write_fit(make_fit(unknown=()), tmp_path))
    assert "There are no unknown test images: only closed-set figures." in page.text
    assert "run1-roc-json" not in page.data
    assert len(page.figure("open")["data"][0]["z"]) == 3
    assert "nan" not in page.text


def test_robustness_and_few_images_are_shown_where_they_were_measured(
    run: Path, make_fit: Make, tmp_path: Path
) -> None:
    assert "No robustness curves" in page_of(run).text
    evaluation = make_fit().evaluation
    points = [
        RobustnessPoint(
            Perturbation("jpeg", q) if q else None, replace(evaluation, oscr=q / 200), "", ()
        )
        for q in (0, 75, 10)
    ]
    write_robustness(points, {}, run)
    few = [LowDataPoint(n, s, (0,), 1.0, n / 10, 0.5, 0.25) for n in (1, 5) for s in (0, 1)]
    folder = write_low_data(few, {}, tmp_path / "few")
    page = page_of(run, lowdata=read_low_data(folder))
    curves = {t["name"]: t for t in page.figure("robustness")["data"]}
    assert (curves["OSCR"]["x"], curves["OSCR"]["y"]) == ([75, 10], [37.5, 5])
    assert page.figure("robustness")["layout"]["xaxis"]["autorange"] == "reversed"
    curves = {t["name"]: t for t in page.figure("lowdata", "all")["data"]}
    assert curves["accuracy"]["y"] == pytest.approx([10, 50])
    assert "No robustness curves" not in page.text


def test_controls_and_notes_are_told(run: Path) -> None:
    leaks = {
        "sets": [
            {
                **{
                    "properties": "file",
                    "accuracy": 0.9,
                    "balanced_accuracy": 0.875,
                    "balanced_accuracy_low": 0.8,
                },
                **{"detected": True, "auroc": None, "oscr": None},
            }
        ],
        **{
            "chance": 0.3,
            "balanced_chance": 0.3,
            "warning_level": 0.4,
            "message": "GIVE-AWAY: look!",
        },
        **{"train_images": 1, "test_images": 1, "unknown_images": 0, "skipped": []},
    }
    shuffles = [
        {"seed": s, "accuracy": 0.9, "balanced_accuracy": 0.9, "auroc": None} for s in (0, 1)
    ]
    control = {"shuffles": shuffles, "chance": 0.33, "mean": 0.9, "p_value": 1e-9}
    change(run, shortcut_check=leaks, shuffled_labels=control, notes=["two <b>files</b> left out"])
    page = page_of(run)
    assert page.tables["Leak check, in percent"][0]["balanced accuracy"] == "87.50"
    assert page.text.count("GIVE-AWAY: look!") == 1
    assert "SHUFFLED LABELS WERE LEARNED" in page.text
    assert "two <b>files</b> left out" in page.text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("results.json", None, "results.json is not there. Give the folder of a run"),
        ("results.json", '{"test": ', "results.json is damaged"),
        ("results.json", "[]", "is not as whichgen .* writes it"),
        ("results.json", '{"run_metadata": {"whichgen": "0.0.1"}}', "whichgen 0.0.1 wrote it"),
        ("predictions.csv", None, "predictions.csv is not there"),
        ("embedding.csv", "path,origin,x,y\na,real,1,far\n", "embedding.csv is damaged"),
        ("robustness.json", '{"points": [{}]}', r"robustness.json .*points\.0"),
    ],
)
def test_a_folder_that_is_no_run_is_one_clear_message(
    run: Path, name: str, text: str | None, message: str
) -> None:
    if text is None:
        (run / name).unlink()
    else:
        (run / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_run(run)


def test_results_and_predictions_of_two_runs_are_refused(
    run: Path, make_fit: Make, tmp_path: Path
) -> None:
    other = write_fit(make_fit(images=7), tmp_path / "other")
    (run / "predictions.csv").write_bytes((other / "predictions.csv").read_bytes())
    with pytest.raises(DataError, match="not of the same run"):
        read_run(run)
    with pytest.raises(DataError, match=r"lowdata.json is not there"):
        read_low_data(run)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=3000))
def test_a_thinned_curve_keeps_its_ends_and_its_area(steps: list[tuple[float, float]]) -> None:
    x, y = np.cumsum(np.array(steps), axis=0).T
    x, y = x / max(x[-1], 1e-9), y / max(y[-1], 1e-9)
    few_x, few_y = thinned(x, y)
    assert len(few_x) <= 501
    assert (few_x[0], few_y[0], few_x[-1], few_y[-1]) == (x[0], y[0], x[-1], y[-1])
    assert set(zip(few_x.tolist(), few_y.tolist(), strict=True)) <= set(
        zip(x.tolist(), y.tolist(), strict=True)
    )
    assert np.trapezoid(few_y, few_x) == pytest.approx(np.trapezoid(y, x), abs=0.01)
