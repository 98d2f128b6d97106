"""``whichgen fuse``: its run folder, and the predictions of its saved model."""

from __future__ import annotations

import csv
import json
import re

import pytest

from whichgen.evaluation.evaluate_predictions import TITLES
from whichgen.report.figures.run_plots import plot_run

from .conftest import UNKNOWN, Site, whichgen


def test_fuse_writes_a_run_whose_model_repeats_its_predictions(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whichgen.report.run_folder.plot_run", plot_run)
    result = whichgen("fuse", *site.options(out="fused"), *UNKNOWN)
    assert result.code == 0, result.err
    assert "Candidate members" in result.out
    assert "tiny_clip + traces" in result.out
    assert "95 % interval" in result.out
    folder = site.folder / "fused/tiny_clip+traces/images"
    results = json.loads((folder / "results.json").read_text())
    assert results["run_metadata"]["config"]["backbone"].endswith("tiny_clip+traces")
    assert len(results["members"]) == 4
    assert re.findall("^→ +(.+?)  ", result.out, re.MULTILINE) == [
        results["selection"]["members"],
        results["score_method"],
    ]
    assert f"score {results['score_method']}\n" in result.out
    assert len(results["scores"]) == 12
    assert results["intervals"].keys() <= TITLES.keys()
    assert len(results["intervals"]) >= 18
    assert all(i["low"] <= i["value"] <= i["high"] for i in results["intervals"].values())
    report = (folder / "report.md").read_text()
    assert "## Open-set scores" in report
    for name in (
        "confusion_closed",
        "confusion_open",
        "scores",
        "reliability",
        "embedding",
        "roc",
        "oscr",
    ):
        assert f"plots/{name}.png" in report
        assert (folder / "plots" / f"{name}.png").is_file()
    with (folder / "predictions.csv").open() as file:
        predictions = {row["path"]: row for row in csv.DictReader(file)}
    command = list(predictions)[::3]
    command += ["--no-stability", "--json", "--device", "cpu"]
    result = whichgen("attribute", "-m", folder, *command)
    assert result.code == 0, result.err
    for answer in json.loads(result.out):
        row = predictions[answer["image"]]
        assert answer["origin"] == row["answer"]
        assert answer["coarse_origin"] == row["coarse_origin"]
        assert abs(answer["score"] - float(row["score"])) < 1e-4


def test_an_encoder_without_traces_has_one_member(site: Site) -> None:
    result = whichgen("fuse", *site.options(out="plain"), *UNKNOWN, "--no-traces", "--C", 10)
    assert result.code == 0, result.err
    results = json.loads((site.folder / "plain/tiny_clip/images/results.json").read_text())
    assert [row["members"] for row in results["members"]] == ["tiny_clip"]
    assert results["selection"]["value"] == 10


def test_patches_and_crops_are_members_of_a_local_encoder(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site.clip.parent)  # a relative folder must work from another working folder
    backbone = f"{site.clip.name}:patches+{site.clip.name}:crops"
    result = whichgen(
        *("fuse", *site.options(out="variants"), *UNKNOWN, "--backbone", backbone),
        *("--no-traces", "--C", 10, "--shuffles", 0, "--no-shortcut-check"),
    )
    assert result.code == 0, result.err
    folder = site.folder / "variants/tiny_clip_patches+tiny_clip_crops/images"
    results = json.loads((folder / "results.json").read_text())
    assert [row["members"] for row in results["members"]] == [
        "tiny_clip:patches",
        "tiny_clip:crops",
        "tiny_clip:patches + tiny_clip:crops",
    ]
    monkeypatch.chdir("/")
    result = whichgen("attribute", "-m", folder, site.images / "gan" / "000.png", "--device", "cpu")
    assert result.code == 0, result.err


def test_invalid_options_fail_before_images_are_read(site: Site) -> None:
    for options, message in (
        (("-b", 1), "Omit --blocks"),
        (("--scores", "magic"), "unknown open-set score 'magic'"),
        (("--C", -1), "must be positive"),
    ):
        result = whichgen("fuse", *site.options(out="wrong"), *UNKNOWN, *options)
        assert result.code == 1
        assert message in result.message
    assert not (site.folder / "wrong").exists()


def test_a_coverage_adds_a_set_to_each_answer(site: Site) -> None:
    result = whichgen("attribute", "-m", site.run, site.images / "gan", "--coverage", 0.5, "--json")
    assert result.code == 0, result.err
    assert "This does not apply to images of unknown origins" in result.message
    for answer in json.loads(result.out):
        ranked = sorted(answer["probabilities"], key=lambda o: -answer["probabilities"][o])
        assert answer["prediction_set"] == ranked[: len(answer["prediction_set"])]
    assert (
        "set" in whichgen("attribute", "-m", site.run, site.images / "gan", "--coverage", 0.5).out
    )
    result = whichgen("attribute", "-m", site.run, site.images / "gan", "--coverage", 2)
    assert result.code == 1
    assert "the coverage must be greater than 0 and less than 1" in result.message


def test_model_with_experts_can_be_used_and_extended(site: Site) -> None:
    result = whichgen(
        *("fuse", *site.options(out="robust"), *UNKNOWN, "--augment", "all", "--C", 10),
        *("--shuffles", 2, "--no-shortcut-check"),
    )
    assert result.code == 0, result.err
    folder = site.folder / "robust/tiny_clip+traces/images"
    results = json.loads((folder / "results.json").read_text())
    kinds = ["jpeg", "blur", "crop", "resize", "social"]
    assert results["run_metadata"]["config"]["augment"] == kinds
    assert len(results["shuffled_labels"]["shuffles"]) == 2
    assert [e["perturbation"] for e in results["experts"]] == ["", *sorted(kinds)]
    assert "## Experts" in (folder / "report.md").read_text()
    assert json.loads((folder / "model/model.json").read_text())["head_method"] == "experts"
    images = site.images / "ddpm"
    enrolled_model = site.folder / "enrolled_model"
    result = whichgen(
        "enroll", "-m", folder, "ddpm", images, "--device", "cpu", "-o", enrolled_model
    )
    assert result.code == 0, result.err
    result = whichgen(
        "attribute", "-m", enrolled_model, images / "000.png", "--json", "--device", "cpu"
    )
    assert result.code == 0, result.err
    (answer,) = json.loads(result.out)
    assert set(answer["probabilities"]) == {"real", "gan", "vae", "ddpm"}
