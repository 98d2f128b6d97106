"""``enroll`` and ``few-shot``: add a new origin from a few images."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from whichgen.models.saved_model import DESCRIPTION_FILE, load_model

from .conftest import Site, whichgen
from .test_evaluate import refer_here


def enroll(site: Site, *arguments: object) -> Any:
    """Run ``whichgen enroll`` on the CPU."""
    return whichgen("enroll", "-m", site.run, *arguments, "--device", "cpu")


def test_the_enrolled_model_attributes_the_new_origin(site: Site) -> None:
    before = (site.run / "model" / DESCRIPTION_FILE).read_bytes()
    images = sorted((site.images / "flow").iterdir())
    result = enroll(site, "flow", *images[:4], images[0])
    assert result.code == 0, result.err
    assert "flow enrolled from 4 images" in result.out
    assert "Duplicate images ignored: 1" in result.message
    assert "Answers for these images before enrollment: " in result.message
    folder = site.run.with_name("images+flow")
    model = load_model(folder)
    assert model.origins == ("real", "gan", "vae", "flow")
    (record,) = model.run_metadata["enrolled"]
    assert record["images"] == len(set(record["digests"])) == 4
    assert (site.run / "model" / DESCRIPTION_FILE).read_bytes() == before
    answers = whichgen("attribute", "-m", folder, site.images / "flow", "--json", "--device", "cpu")
    assert answers.code == 0, answers.err
    assert "flow" in json.loads(answers.out)[0]["probabilities"]
    again = enroll(site, "flow", images[0])
    assert again.code == 1
    assert "already contains a model. Choose another --output-dir" in again.message
    assert enroll(site, "flow", images[0], "--force").code == 0
    second = whichgen(
        "enroll", "-m", folder, "ddpm", site.images / "ddpm", "--device", "cpu", "-o", "o"
    )
    assert second.code == 0, second.err
    assert load_model(Path("o")).origins == ("real", "gan", "vae", "flow", "ddpm")


def test_a_model_folder_may_contain_the_new_model(site: Site) -> None:
    folder = shutil.copytree(site.run / "model", site.folder / "plain")
    image = site.images / "flow" / "000.png"
    result = whichgen("enroll", "-m", folder, "flow", image, "--device", "cpu", "-o", folder)
    assert result.code == 0, result.err
    assert "the original model is unchanged" in result.message
    assert load_model(folder).origins == ("real", "gan", "vae")
    assert load_model(folder / "model").origins == ("real", "gan", "vae", "flow")


def test_the_message_says_whether_the_original_model_is_replaced(site: Site) -> None:
    run = shutil.copytree(site.run, site.folder / "copied-run")
    image = site.images / "flow" / "000.png"
    arguments = ["enroll", "-m", run, "flow", image, "--device", "cpu", "-o", run, "--force"]
    result = whichgen(*arguments)
    assert result.code == 0, result.err
    assert "the original model is replaced" in result.message
    assert load_model(run / "model").origins == ("real", "gan", "vae", "flow")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gan", None, "gan is already an origin"),
        ("unknown", None, "'unknown' is not a valid origin name"),
        ("flow", b"no image", "1 of 2 images can't be read, e.g. "),
    ],
)
def test_a_failed_enrollment_writes_no_model(
    site: Site, name: str, content: bytes | None, message: str
) -> None:
    folder = site.folder / "new"
    folder.mkdir()
    shutil.copy(site.images / "flow" / "000.png", folder / "a.png")
    if content:
        (folder / "b.png").write_bytes(content)
    result = enroll(site, name, folder, "-o", "model")
    assert result.code == 1
    assert message in result.message
    assert not (site.folder / "model").exists()


def test_few_shot_writes_a_table_a_plot_and_a_file(site: Site) -> None:
    refer_here(site)
    result = whichgen(
        *("few-shot", "-m", site.run, "--shots", "1,3,50", "--repeats", 2),
        *("--device", "cpu", "--cache-dir", site.cache),
    )
    assert result.code == 0, result.err
    with (site.run / "fewshot.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    command = [(r["generator"], r["images"], r["seed"]) for r in rows]
    assert ("flow", "1", "0") in command
    assert all(int(r["images"]) <= 5 for r in rows)
    assert json.loads((site.run / "fewshot.json").read_text())["run_metadata"]["config"]["shots"]
    assert (site.run / "plots" / "fewshot.png").stat().st_size > 5000
    assert "AUROC" in result.out
    wrong = whichgen("few-shot", "-m", site.run, "--shots", "few")
    assert wrong.code == 1
    assert "is not a list of integers" in wrong.message
