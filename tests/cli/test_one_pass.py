"""Commands read and decode each image once, and a second run decodes none."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.numpy import load_file

from conftest import noise_image

from .conftest import whichgen

IMAGES = 30
TRAINING = ("--backbone", "traces", "--device", "cpu", "--unknown", "flow", "--share-unknown")
CURRENT: dict[str, Counts | None] = {"counts": None}


class Counts:
    """How often each image file was opened, and how many images were decoded."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.opened: Counter[str] = Counter()
        self.decoded = 0


def _count_opened(event: str, arguments: Any) -> None:
    counts = CURRENT["counts"]
    if counts and event == "open" and str(arguments[0]).startswith(counts.folder):
        counts.opened[str(arguments[0])] += 1


sys.addaudithook(_count_opened)  # can't be removed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """JPEG and PNG files of three origins, in four sources each."""
    for tint, origin in enumerate(("real", "gan", "flow")):
        for i in range(IMAGES // 3):
            path = tmp_path / f"images/{origin}/source{i % 4}/{i:03d}.{('png', 'jpg')[i % 2]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise_image(1000 * tint + i, (64, 48), tint=tint).save(path)
    return tmp_path / "images"


@pytest.fixture
def counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counts]:
    counter = Counts(folder)
    decode = Image._getdecoder

    def count_decoded(mode: str, name: str, *arguments: Any) -> Any:
        counter.decoded += name != "raw"
        return decode(mode, name, *arguments)

    monkeypatch.setattr(Image, "_getdecoder", count_decoded)
    CURRENT["counts"] = counter
    yield counter
    CURRENT["counts"] = None


def run(counts: Counts, *arguments: object, code: int = 0) -> Counts:
    """Run a command, and return what it opened and decoded."""
    counts.opened.clear()
    counts.decoded = 0
    result = whichgen(*arguments)
    assert result.code == code, result.err
    return counts


def assert_read_once(counts: Counts, *, decoded: int) -> None:
    assert set(counts.opened.values()) == {1}
    assert (len(counts.opened), counts.decoded) == (IMAGES, decoded)


@pytest.fixture
def where(folder: Path, tmp_path: Path) -> list[object]:
    """Options of a training command."""
    return ["--cache-dir", tmp_path / "cache", "--data", folder, "-o", tmp_path / "out", *TRAINING]


@pytest.mark.parametrize("command", ["linear", "fuse"])
def test_training_decodes_each_image_once(
    command: str, folder: Path, counts: Counts, where: list[object]
) -> None:
    assert_read_once(run(counts, command, *where), decoded=IMAGES)
    assert_read_once(run(counts, command, *where), decoded=0)
    # Other splits need the fingerprints, and the check of shortcuts other files.
    assert_read_once(run(counts, command, *where, "--seed", 1, "--force"), decoded=0)
    shortcuts = ["dataset", "shortcuts", folder, *where[:2], "--unknown", "flow"]
    assert_read_once(run(counts, *shortcuts), decoded=0)
    # A changed file is another image.
    noise_image(77, (64, 48)).save(folder / "gan/source1/001.jpg")
    assert_read_once(run(counts, command, *where, "--force"), decoded=1)


def test_paper_protocol_does_not_encode_known_test_images(
    counts: Counts, where: list[object], tmp_path: Path
) -> None:
    run(counts, "linear", *where, "--protocol", "paper")
    (file,) = (tmp_path / "out").rglob("results.json")
    images = json.loads(file.read_text())["images"]
    assert set(images) == {"train", "val", "val_unknown", "test_unknown"}
    used = sum(sum(origins.values()) for origins in images.values())
    segments = (tmp_path / "cache").rglob("*.safetensors")
    assert sum(len(load_file(segment)["keys"]) for segment in segments) == used < IMAGES


def test_without_a_cache_of_facts_images_are_decoded_again(
    counts: Counts, where: list[object], tmp_path: Path
) -> None:
    run(counts, "linear", *where)
    next((tmp_path / "cache").rglob("facts*")).unlink()
    assert run(counts, "linear", *where, "--seed", 1, "--force").decoded == IMAGES


def test_images_beyond_a_limit_are_not_encoded(counts: Counts, where: list[object]) -> None:
    # Of ten images per origin, six are for training. Of these, two are used.
    run(counts, "linear", *where, "--samples-per-class", 2)
    assert IMAGES < counts.decoded < 2 * IMAGES
    assert max(counts.opened.values()) == 2


def test_cross_source_decodes_each_image_once(counts: Counts, where: list[object]) -> None:
    command = ["cross-source", *where, "--sources", "folders", "--folds", 3, "--head", "linear"]
    assert_read_once(run(counts, *command), decoded=IMAGES)
    assert_read_once(run(counts, *command), decoded=0)


def test_dataset_check_decodes_each_image_once(
    folder: Path, counts: Counts, where: list[object]
) -> None:
    check = ["dataset", "check", folder, "--sources", "folders", *where[:2]]
    assert_read_once(run(counts, *check), decoded=IMAGES)
    assert_read_once(run(counts, *check), decoded=0)


def test_attribute_decodes_each_image_once(
    folder: Path, counts: Counts, where: list[object], tmp_path: Path
) -> None:
    run(counts, "linear", *where)
    attribute = ["attribute", "-m", tmp_path / "out/traces/images", folder, "--device", "cpu"]
    # Copies are compressed and decoded, but not read from a file.
    assert_read_once(run(counts, *attribute, "--no-stability"), decoded=IMAGES)
    assert set(run(counts, *attribute).opened.values()) == {1}
