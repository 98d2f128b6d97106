"""``robustness`` and ``evaluate``: evaluate a saved model on test images."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import save_tiny_clip
from whichgen.encoders.encoder import Encoder
from whichgen.features.batching import BatchEncoder
from whichgen.models.saved_model import DESCRIPTION_FILE

from .conftest import UNKNOWN, Site, whichgen


def refer_here(site: Site) -> None:
    """Change the dataset recorded in the model to the images of this copy."""
    file = site.run / "model" / DESCRIPTION_FILE
    record = json.loads(file.read_text())
    record["run_metadata"]["config"]["data"] = str(site.images)
    file.write_text(json.dumps(record))


@pytest.fixture
def mine(site: Site) -> Site:
    """Copy of the shared folder whose run refers to the copied images."""
    refer_here(site)
    return site


def figures(out: str) -> dict[str, str]:
    """Parse a table on the terminal: value of each metric."""
    cells = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]
    return {c[0]: c[1] for c in cells if len(c) >= 2}


def results(site: Site) -> Any:
    """Read the test metrics of the shared run."""
    return json.loads((site.run / "results.json").read_text())["test"]


def test_evaluate_gives_the_metrics_of_the_run(mine: Site) -> None:
    for path in (mine.run, mine.run / "model"):
        result = whichgen("evaluate", "-m", path, "--device", "cpu", "--cache-dir", mine.cache)
        assert result.code == 0, result.err
        table = figures(result.out)
        assert table["Closed-set accuracy"] == f"{100 * results(mine)['closed']['accuracy']:.1f}"
        assert table["OSCR"] == f"{100 * results(mine)['oscr']:.1f}"
        assert "Unknown generators" in result.out


@pytest.mark.parametrize("command", ["evaluate", "robustness"])
def test_an_encoder_with_other_weights_is_rejected(mine: Site, command: str) -> None:
    other = save_tiny_clip(mine.folder / "other", seed=1)
    result = whichgen(command, "-m", mine.run, "--backbone", other, "--cache-dir", mine.cache)
    assert result.code == 1
    assert "Use the same encoder, or fit the model again" in result.message


def test_evaluate_reports_skipped_files(mine: Site) -> None:
    # Splitting skips unreadable files; annotated datasets still contain them during extraction.
    result = whichgen("dataset", "split", "images", "--unknown", "ddpm,flow", "-o", "sets")
    assert result.code == 0, result.err
    test_list = Path("sets/images/split1_test/annotations/split1_test_out_all.txt")
    lines = test_list.read_text().splitlines()
    Path(lines[0].partition("\t")[0]).unlink()
    result = whichgen(
        "evaluate", "-m", mine.run, "-d", "images:root=sets", "--cache-dir", mine.cache
    )
    assert result.code == 0, result.err
    assert "Unreadable files skipped: 1. Replace or remove them. First error: " in result.message
    assert "no such file" in result.message


def test_robustness_writes_into_the_run_folder(mine: Site) -> None:
    result = whichgen("robustness", "-m", mine.run, "--kinds", "jpeg", "--cache-dir", mine.cache)
    assert result.code == 0, result.err
    assert "jpeg:10" in result.out
    record_file = json.loads((mine.run / "robustness.json").read_text())
    assert len(record_file["points"]) == 6
    assert record_file["points"][0]["test"] == results(mine)
    record = record_file["run_metadata"]
    model = json.loads((mine.run / "model" / DESCRIPTION_FILE).read_text())
    assert record["config"]["kinds"] == ["jpeg"]
    assert record["config"]["model_data_hash"] == model["data_hash"] != record["data_hash"]
    assert (mine.run / "plots" / "robustness.png").stat().st_size > 5000
    assert "jpeg" in (mine.run / "robustness.md").read_text()


@pytest.mark.parametrize("command", ["evaluate", "robustness", "few-shot"])
def test_the_batch_size_is_used(
    mine: Site, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def make_encoder(encoder: Encoder, *, pad_to: int) -> BatchEncoder:
        sizes.append(pad_to)
        return BatchEncoder(encoder, pad_to=pad_to)

    monkeypatch.setattr("whichgen.features.extraction.BatchEncoder", make_encoder)
    options = {
        "robustness": ("--kinds", "jpeg", "-o", tmp_path / "robust"),
        "few-shot": ("--shots", 1, "--repeats", 1, "-o", tmp_path / "few"),
    }
    result = whichgen(
        command,
        "-m",
        mine.run,
        "--cache-dir",
        mine.cache,
        "--batch-size",
        3,
        *options.get(command, ()),
    )
    assert result.code == 0, result.err
    assert set(sizes) == {3}


def test_another_dataset_needs_its_unknown_origins(mine: Site) -> None:
    command = ["evaluate", "-m", mine.run, "--cache-dir", mine.cache]
    result = whichgen(*command, "-d", "images", "--unknown", "ddpm,flow")
    assert result.code == 0, result.err
    result = whichgen(*command, "-d", "images", "--unknown", "gan,flow")
    assert result.code == 1
    assert "the model are real, gan, vae, but those of images are" in result.message
    result = whichgen(*command, "--unknown", "flow")
    assert result.code == 1
    assert "require --data" in result.message


def test_a_model_without_a_recorded_dataset_needs_data(mine: Site) -> None:
    file = mine.run / "model" / DESCRIPTION_FILE
    record = json.loads(file.read_text())
    del record["run_metadata"]["config"]["data"]
    file.write_text(json.dumps(record))
    result = whichgen("evaluate", "-m", mine.run, "--cache-dir", mine.cache)
    assert result.code == 1
    assert "Specify a dataset with --data" in result.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kinds", "jpeg,fog"], "unknown perturbation fog. Choose from jpeg, blur"),
        (["--kinds", "jpeg,all"], "For all of them, write only `all`."),
        (["-d", "nowhere/x"], "nowhere/x does not exist"),
        (["-d", "images", "--unknown", "dalle"], "has no origin dalle"),
        (["--backbone", "someone/no-such-model"], "is not a local folder, and can't be loaded"),
    ],
)
def test_invalid_option_is_reported(mine: Site, options: list[str], message: str) -> None:
    result = whichgen("robustness", "-m", mine.run, "--cache-dir", mine.cache, *options)
    assert result.code == 1
    assert result.message.startswith("error: ")
    assert message in result.message


def move_to_sources(site: Site) -> None:
    """Divide the images of each origin into four source folders."""
    for origin in site.images.iterdir():
        for number, image in enumerate(sorted(origin.iterdir())):
            source = origin / f"{origin.name}-site{number % 4}"
            source.mkdir(exist_ok=True)
            image.rename(source / image.name)


def test_evaluate_states_whether_the_test_sources_are_new(site: Site) -> None:
    move_to_sources(site)
    options = (*site.options(out="by-source"), *UNKNOWN, "--sources", "folders")
    result = whichgen("knn", *options, "-b", 0, "--K", 1, "--no-shortcut-check", "--shuffles", 0)
    assert result.code == 0, result.err
    new_sources = "On new sources: the model was not trained on images from the 7 test sources."
    assert new_sources in result.out
    folder = site.folder / "by-source" / "tiny_clip" / "images"
    card = (folder / "model" / "README.md").read_text()
    assert new_sources in card
    assert "- Sources of the training images: real 3, gan 3, vae 3" in card
    assert "| Photographs called synthetic |" in card

    command = ("evaluate", "-m", folder, "--cache-dir", site.cache)
    own = whichgen(*command)
    assert own.code == 0, own.err
    assert new_sources in own.out
    assert own.out.splitlines()[0] == "images: test split, 7 new sources"
    assert "intervals over the 7 test sources" in own.out
    rows = [line for line in own.out.splitlines() if line.startswith("Photographs called")]
    assert rows and rows == [r for r in result.out.splitlines() if r.startswith("Photographs call")]

    other = ("--data", site.images, *UNKNOWN, "--sources", "folders", "--seed", 1)
    result = whichgen(*command, *other)
    assert result.code == 0, result.err
    assert re.search(r"also trained on images from \d of the \d test sources", result.out)

    result = whichgen("evaluate", "-m", site.run, "--cache-dir", site.cache, *other)
    assert result.code == 0, result.err
    assert "Possibly optimistic: the model does not record" in result.out


def test_experiments_note_the_sources(site: Site) -> None:
    move_to_sources(site)
    sources = (*UNKNOWN, "--sources", "folders")
    options = (*site.options(out="low"), *sources, "--shots", 2, "--repeats", 1)
    result = whichgen("low-data", *options, "--head", "fusion")
    assert result.code == 1
    assert "does not support a fusion with sources" in result.message
    result = whichgen("low-data", *options, "--head", "knn", "-b", 0)
    assert result.code == 0, result.err
    assert "On new sources" in result.out
    assert "variation over sources" in (
        site.folder / "low" / "tiny_clip" / "images" / "lowdata.md"
    ).read_text(encoding="utf-8")

    command = ("-m", site.run, "--data", site.images, *sources, "--cache-dir", site.cache)
    result = whichgen("few-shot", *command, "--shots", 1, "--repeats", 1, "-o", "few")
    assert result.code == 0, result.err
    assert "test images of a generator are from different sources" in result.out
    result = whichgen("robustness", *command, "--kinds", "jpeg", "-o", "robust")
    assert result.code == 0, result.err
    assert "Possibly optimistic" in result.out
    assert "Possibly optimistic" in Path("robust/robustness.md").read_text(encoding="utf-8")


def test_cross_source_compares_new_sources_with_known_ones(site: Site) -> None:
    move_to_sources(site)
    command = ("cross-source", *site.options(out="across"), *UNKNOWN, "--sources", "folders")
    result = whichgen(*command, "--folds", 3, "--head", "knn", "--shares", "0.9")
    assert result.code == 0, result.err
    tables = result.out.split("images: ")[1:]
    titles = [table.splitlines()[0] for table in tables]
    assert titles == [
        "new sources",
        "same sources (optimistic)",
        "new sources, 90% of sources",
    ]
    assert all("Named generators that are correct" in table for table in tables)
    saved = json.loads((site.folder / "across" / "cross_source.json").read_text())
    metrics = saved["results"][0]["metrics"]
    assert f"{100 * metrics['accuracy']['value']:.1f}" in tables[0]
    assert saved["run_metadata"]["config"]["sources"] == "folders"

    result = whichgen("cross-source", *site.options(out="across"), *UNKNOWN, "--folds", 3)
    assert result.code == 1
    assert "has no source. Set the sources with --sources" in result.message
    (copied,) = list((site.images / "real" / "real-site1").glob("001.png"))
    shutil.copy(copied, site.images / "gan" / "gan-site2" / "copy.png")
    result = whichgen(*command, "--folds", 3, "--head", "knn")
    assert result.code == 0, result.err
    assert "2 sources share near-duplicates with other sources" in result.out + result.message
    result = whichgen(*command, "--augment", "jpeg")
    assert result.code == 1
    assert "does not support --augment" in result.message


@pytest.mark.parametrize("command", ["cross-source", "knn", "few-shot"])
def test_too_few_sources_are_reported_before_images_are_encoded(
    site: Site, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_to_sources(site)
    too_few = "ddpm" if command == "few-shot" else "gan"
    folder = site.images / too_few
    for number in (1, 2, 3) if command == "few-shot" else (2, 3):
        shutil.rmtree(folder / f"{too_few}-site{number}")
    unknown = ("--unknown", "ddpm") if command == "few-shot" else UNKNOWN
    if command == "few-shot":
        shutil.rmtree(site.images / "flow")
        options: tuple[object, ...] = ("-m", site.run, "-d", site.images, "--cache-dir", "new")
    else:
        options = site.options(out="few")
    monkeypatch.setattr(BatchEncoder, "__call__", lambda *_: pytest.fail("encoded"))
    result = whichgen(command, *options, *unknown, "--sources", "folders")
    assert result.code == 1
    if command == "few-shot":
        assert "no unknown generator has enough images" in result.message
    else:
        assert re.search("too few (independent )?sources: gan has 2", result.message)
