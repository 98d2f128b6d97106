"""``compare``, control experiments and ``dataset shortcuts``."""

from __future__ import annotations

import json

import pytest

from whichgen.errors import FitError

from .conftest import GRID, UNKNOWN, Site, whichgen


def test_two_runs_on_the_same_images_are_compared(site: Site) -> None:
    runs = []
    for k in (1, 3):
        result = whichgen(
            *("knn", *site.options(out=f"k{k}"), *UNKNOWN, "--K", k, "-b", 0),
            *("--no-shortcut-check", "--shuffles", 0),
        )
        assert result.code == 0, result.err
        runs.append(site.folder / f"k{k}/tiny_clip/images")
    result = whichgen("compare", *runs, "-o", "c", "--resamples", 50)
    assert result.code == 0, result.err
    first, second = (json.loads((run / "results.json").read_text()) for run in runs)
    (comparison,) = json.loads((site.folder / "c/comparison.json").read_text())[
        "comparisons"
    ].values()
    difference = first["test"]["oscr"] - second["test"]["oscr"]
    assert abs(comparison["oscr"]["difference"] - difference) < 1e-9
    assert f"{100 * difference:+.1f}" in result.out
    for which, run in (("first", first), ("second", second)):
        assert abs(comparison["oscr"][which] - run["test"]["oscr"]) < 1e-9
        assert f"{100 * run['test']['oscr']:.1f}" in result.out
    record = json.loads((site.folder / "c/comparison.json").read_text())["run_metadata"]
    assert record["data_hash"] == first["run_metadata"]["data_hash"]
    assert record["config"]["resamples"] == 50
    assert "group" not in (runs[0] / "predictions.csv").read_text().partition("\n")[0]
    assert "A - B" in result.out
    alone = whichgen("compare", site.run)
    assert alone.code == 1
    assert "compare needs at least two run folders" in alone.message
    rows = (runs[1] / "predictions.csv").read_text().splitlines(keepends=True)
    (runs[1] / "predictions.csv").write_text("".join(rows[:-1]))
    different = whichgen("compare", *runs)
    assert different.code == 1
    assert "were not tested on the same unknown images" in different.message
    assert "Comparing" not in different.err  # no unfinished progress bar remains


def test_controls_are_in_the_report_and_can_be_switched_off(site: Site) -> None:
    report = (site.run / "report.md").read_text()
    assert "## Shortcut check" in report and "fitted 5 times on shuffled training labels" in report
    results = json.loads((site.run / "results.json").read_text())
    assert len(results["shuffled_labels"]["shuffles"]) == 5
    assert [s["properties"] for s in results["shortcut_check"]["sets"]] == ["file", "color", "all"]
    result = whichgen(
        *("linear", *site.options(out="off"), *UNKNOWN, *GRID, "-b", 0),
        *("--no-shortcut-check", "--shuffles", 0),
    )
    assert result.code == 0, result.err
    folder = site.folder / "off/tiny_clip/images"
    assert "## Shortcut check" not in (folder / "report.md").read_text()
    results = json.loads((folder / "results.json").read_text())
    assert results["shortcut_check"] is None and results["shuffled_labels"] is None


def test_dataset_shortcuts(site: Site) -> None:
    result = whichgen("dataset", "shortcuts", site.images, *UNKNOWN, "--cache-dir", site.cache)
    assert result.code == 0, result.err
    # The origins of the test images differ in tint.
    assert "Shortcut warning" in result.message
    assert "color" in result.out


def test_groups_reach_the_predictions_and_the_bootstrap(site: Site) -> None:
    lines = ["path\tgroup"]
    lines += [
        f"{p.relative_to(site.images)}\tscene{p.stem[-1]}"
        for p in sorted(site.images.rglob("*.png"))
    ]
    (site.folder / "groups.tsv").write_text("\n".join(lines))
    result = whichgen(
        *("knn", *site.options(out="g"), *UNKNOWN, "--K", 3, "-b", 0),
        *("--groups", "groups.tsv", "--shuffles", 0, "--no-shortcut-check"),
    )
    assert result.code == 0, result.err
    folder = site.folder / "g/tiny_clip/images"
    rows = (folder / "predictions.csv").read_text().splitlines()
    assert rows[0].split(",")[2] == "group"
    assert all("scene" in row.split(",")[2] for row in rows[1:])
    assert "bootstrap intervals over groups of test images" in (folder / "report.md").read_text()


def test_failed_control_experiment_keeps_the_results(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FitError("did not converge")

    monkeypatch.setattr("whichgen.cli.training_run.run_label_shuffle", fail)
    result = whichgen("knn", *site.options(out="f"), *UNKNOWN, "--K", 1, "-b", 0)
    assert result.code == 0, result.err
    assert (
        "The shuffled-label control failed and is omitted from the report: did not converge"
        in result.message
    )
    assert (site.folder / "f/tiny_clip/images/report.md").is_file()
