"""Splits that folders define are kept; related images never cross them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from whichgen.data.dataset import SPLITS, Dataset
from whichgen.data.splits.split_images import split_folder
from whichgen.data.splits.split_options import SplitOptions
from whichgen.data.tables.groups_and_sources import list_source_folders
from whichgen.errors import DataError

MakeTree = Callable[[dict[str, int]], Path]


@pytest.fixture
def tree(tmp_path: Path, noise: Callable[..., Image.Image]) -> MakeTree:
    """Make a folder with a number of different images in each given subfolder."""

    def make(counts: dict[str, int]) -> Path:
        for k, (name, count) in enumerate(counts.items()):
            folder = tmp_path / "data" / name
            folder.mkdir(parents=True)
            for i in range(count):
                noise(1000 * k + i).save(folder / f"{k}_{i}.png")
        return tmp_path / "data"

    return make


def _count(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Number of images of each folder of a split in each split of the dataset."""
    return {
        part: dict(Counter(s.path.relative_to(s.path.parents[2]).parts[0] for s in samples))
        for part in SPLITS
        if (samples := dataset.split(part))
    }


def test_images_stay_in_the_split_of_their_folder(tree: MakeTree) -> None:
    folder = tree(
        {
            f"{split}/{origin}": 4
            for split in ("train", "val", "test")
            for origin in ("real", "a", "b")
        }
    )
    dataset = split_folder(folder, SplitOptions(unknown=("b",)))
    assert _count(dataset) == {
        "train": {"train": 8},
        "val": {"val": 8},
        "test": {"test": 8},
        # Images that nothing is trained on may be used, wherever they are.
        "test_unknown": {"test": 4, "train": 4},
    }
    assert dataset.known == ("real", "a")
    assert any("The folders define the splits" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ("test", {"train": {"train": 30}, "val": {"train": 10}, "test": {"test": 20}}),
        ("val", {"train": {"train": 40}, "val": {"val": 10}, "test": {"val": 10}}),
    ],
)
def test_missing_split_is_a_part_of_another(
    tree: MakeTree, second: str, expected: dict[str, dict[str, int]]
) -> None:
    folder = tree({"train/real": 20, "train/a": 20, f"{second}/real": 10, f"{second}/a": 10})
    dataset = split_folder(folder, SplitOptions())
    assert _count(dataset) == expected
    for part in ("train", "val", "test"):
        counts = Counter(s.origin for s in dataset.split(part))
        assert counts["real"] == counts["a"]


def test_copies_of_training_images_are_omitted_from_the_test_set(tree: MakeTree) -> None:
    folder = tree(
        {"train/real": 6, "train/a": 6, "val/real": 3, "val/a": 3, "test/real": 3, "test/a": 3}
    )
    copy = folder / "test" / "a" / "copy.png"
    copy.write_bytes((folder / "train" / "a" / "1_0.png").read_bytes())
    dataset = split_folder(folder, SplitOptions())
    assert {part: len(dataset.split(part)) for part in ("train", "val", "test")} == {
        "train": 12,
        "val": 6,
        "test": 6,
    }
    assert copy not in {sample.path for sample in dataset.test}
    assert any(note.startswith("1 image omitted: a near-duplicate") for note in dataset.notes)


def test_generators_without_training_images_are_unknown(tree: MakeTree) -> None:
    folder = tree(
        {"train/real": 4, "train/a": 4, "val/real": 3, "val/a": 3}
        | {"test/real": 3, "test/a": 3, "test/b": 3, "test/c": 3}
    )
    with pytest.raises(DataError, match=r"no images of b, c.*add them to `unknown`"):
        split_folder(folder, SplitOptions())
    dataset = split_folder(folder, SplitOptions(unknown=("b", "c"), share_unknown=True))
    assert len(dataset.test_unknown) == 6
    assert dataset.val_unknown == ()


def test_sources_take_precedence_over_folder_splits(tree: MakeTree) -> None:
    folder = tree(
        {
            f"{split}/{origin}/{site}": 3
            for split in ("train", "test")
            for origin in ("real", "a")
            for site in ("x", "y", "z")
        }
    )
    dataset = split_folder(folder, SplitOptions(), sources=list_source_folders(folder))
    for part in ("train", "val", "test"):
        assert len({sample.source for sample in dataset.split(part)}) == 1
        assert len(dataset.split(part)) == 12
    assert any("folders of splits are ignored" in note for note in dataset.notes)


def test_photographs_are_named_by_an_option(tree: MakeTree) -> None:
    folder = tree({"photos": 5, "a": 5})
    dataset = split_folder(folder, SplitOptions())
    assert any(
        "If photos contains photographs, add `real=('photos',)`" in note for note in dataset.notes
    )
    dataset = split_folder(folder, SplitOptions(real=("photos",)))
    assert dataset.known == ("real", "a")
    assert dataset.notes == ()
