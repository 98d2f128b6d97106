"""Image folders: split once, then read from the cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import whichgen.data.open_dataset as folder_module
from whichgen.data.benchmarks.benchmark_files import write_benchmark
from whichgen.data.dataset import SPLITS, Dataset, limit_per_class
from whichgen.data.open_dataset import list_samples, open_dataset
from whichgen.data.splits.split_options import SplitOptions
from whichgen.errors import DataError


@pytest.fixture
def splits(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were split, not found again."""
    folders: list[Path] = []
    original = folder_module.split_folder

    def split(folder: Path, *args: object, **options: object) -> Dataset:
        folders.append(folder)
        return original(folder, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(folder_module, "split_folder", split)
    return folders


OPTIONS = SplitOptions(unknown=("u1", "u2"))


@pytest.mark.parametrize("name", ["images", "a:b", "GenImage", "with space"])
def test_split_is_cached(
    image_folder: Callable[..., Path], tmp_path: Path, splits: list[Path], name: str
) -> None:
    folder = image_folder({"real": 6, "gan": 6, "u1": 4, "u2": 4}, name=name)
    (folder / "real" / "bad.png").write_text("no image")
    cache = tmp_path / "a cache:with=colons"
    first = open_dataset(str(folder), OPTIONS, cache=cache)
    second = open_dataset(str(folder), OPTIONS, cache=cache)
    assert first == second
    assert splits == [folder]
    assert first.name == name
    assert len(first.notes) == 1


def test_changed_folder_or_option_is_split_again(
    image_folder: Callable[..., Path], tmp_path: Path, splits: list[Path]
) -> None:
    folder = image_folder({"real": 6, "gan": 6, "u1": 4, "u2": 4})

    def count_splits(options: SplitOptions = OPTIONS) -> int:
        open_dataset(str(folder), options, cache=tmp_path / "cache")
        return len(splits)

    assert count_splits() == 1
    assert count_splits(SplitOptions(unknown=("u1", "u2"), seed=1)) == 2
    assert count_splits(SplitOptions(unknown=("u2",))) == 3
    os.utime(folder / "real" / "000.png", ns=(0, 0))
    assert count_splits() == 4
    (folder / "gan" / "000.png").unlink()
    assert count_splits() == 5
    assert count_splits() == 5


@pytest.mark.parametrize("ns", [0, -(10**18), 2**63 + 10**15], ids=["1970", "1938", "after 2262"])
def test_split_does_not_depend_on_modification_times(
    image_folder: Callable[..., Path], tmp_path: Path, splits: list[Path], ns: int
) -> None:
    folder = image_folder({"real": 6, "gan": 6, "u1": 4, "u2": 4})
    first = open_dataset(str(folder), OPTIONS, cache=tmp_path / "cache")
    for path in folder.rglob("*.png"):
        os.utime(path, ns=(ns, ns))
    assert open_dataset(str(folder), OPTIONS, cache=tmp_path / "cache") == first
    assert open_dataset(str(folder), OPTIONS, cache=tmp_path / "cache") == first
    assert len(splits) == 2


def test_interrupted_split_is_repeated(
    image_folder: Callable[..., Path],
    tmp_path: Path,
    splits: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = image_folder({"real": 6, "gan": 6, "u1": 4, "u2": 4})
    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "write_benchmark", lambda *_: (_ for _ in ()).throw(KeyError))
        with pytest.raises(KeyError):
            open_dataset(str(folder), OPTIONS, cache=tmp_path / "cache")
    dataset = open_dataset(str(folder), OPTIONS, cache=tmp_path / "cache")
    assert open_dataset(str(folder), OPTIONS, cache=tmp_path / "cache") == dataset
    assert len(splits) == 2


def test_unknown_dataset_is_an_error(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match=r"does not exist\. Specify a folder"):
        open_dataset(str(tmp_path / "none"), SplitOptions(), cache=cache)
    (tmp_path / "list.csv").touch()
    with pytest.raises(DataError, match=r"list\.csv is not a folder\. Specify a folder"):
        open_dataset(str(tmp_path / "list.csv"), SplitOptions(), cache=cache)
    with pytest.raises(DataError, match="is not one of"):
        open_dataset("nonsense", SplitOptions(), cache=cache)
    # Path.is_dir would raise OSError.
    with pytest.raises(DataError, match="is not one of"):
        list_samples("x" * 300)


def test_limit_per_class_keeps_the_first_samples(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder({"real": 20, "gan": 12, "u1": 4, "u2": 4})
    dataset = open_dataset(str(folder), OPTIONS, cache=tmp_path / "cache")
    few = limit_per_class(dataset, 3)
    for part in SPLITS:
        for origin in (*dataset.known, *dataset.unknown):
            all_of_it = [s for s in dataset.split(part) if s.origin == origin]
            assert [s for s in few.split(part) if s.origin == origin] == all_of_it[:3]
        # The order is kept as well.
        selection = set(few.split(part))
        assert [s for s in dataset.split(part) if s in selection] == list(few.split(part))
    assert max(len(few.split(p)) for p in SPLITS) < max(len(dataset.split(p)) for p in SPLITS)
    assert (few.name, few.known, few.unknown) == (dataset.name, dataset.known, dataset.unknown)
    assert limit_per_class(dataset, 10**6) == dataset


def test_list_samples_of_folder_and_of_dataset_string(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder({"real": 20, "gan": 12, "u1": 4, "u2": 4})
    (folder / "gan" / "deep").mkdir()
    (folder / "gan" / "000.png").rename(folder / "gan" / "deep" / "000.png")
    (folder / "real" / "000.png").rename(folder / "stray.png")
    origins = {str(s.path.relative_to(folder)): s.origin for s in list_samples(str(folder))}
    assert len(origins) == 40
    assert origins["gan/deep/000.png"] == "gan"
    assert origins["stray.png"] == ""
    assert origins["u1/001.png"] == "u1"
    dataset = open_dataset(str(folder), OPTIONS, cache=tmp_path / "cache")
    write_benchmark(dataset, tmp_path / "root", "mine")
    spec = f"mine:root={tmp_path / 'root'}"
    with pytest.raises(DataError, match=r"do not apply to mine:root=.*\. Remove `unknown`\.$"):
        open_dataset(spec, OPTIONS, cache=tmp_path / "cache")
    samples = list_samples(spec)
    assert sorted(s.path for s in samples) == sorted(
        s.path for part in SPLITS for s in dataset.split(part)
    )
    with pytest.raises(DataError, match="does not exist"):
        list_samples(str(tmp_path / "none"))
