"""Shards: every image of every source is in exactly one, in a fixed order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import whichgen.data.shards.find_shards as shards_module
from whichgen.data.shards.find_shards import (
    Archive,
    Files,
    Shard,
    count_images,
    find_shards,
    hash_name,
)
from whichgen.errors import DataError, ImageError
from whichgen.io.remote import Storage

Pack = Callable[..., Path]


def contents(shards: list[Shard]) -> dict[str, bytes | str]:
    """All that is read; errors as text. No name comes twice."""
    items: dict[str, bytes | str] = {}
    for shard in shards:
        for item in shard.read():
            assert item.name not in items
            try:
                items[item.name] = item.load()
            except ImageError as error:
                items[item.name] = str(error)
    return items


@pytest.fixture
def place(tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two files, a tar of two images and a Parquet file of seven, and other things."""
    monkeypatch.chdir(tmp_path)
    for i in (10, 9):
        (tmp_path / f"all/b/{i}.png").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"all/b/{i}.png").write_bytes(b"file %d" % i)
    pack(tmp_path / "all/a.tar", {f"{i}.jpg": b"tar %d" % i for i in range(2)})
    pack(tmp_path / "all/c.parquet", {str(i): b"row %d" % i for i in range(7)})
    (tmp_path / "all/.hidden").mkdir()
    shutil.copy("all/b/9.png", "all/.hidden/9.png")
    (tmp_path / "all/notes.txt").write_text("no image")
    return tmp_path


ALL = {
    "all/b/9.png": b"file 9",
    "all/b/10.png": b"file 10",
    "all/a.tar/0.jpg": b"tar 0",
    "all/a.tar/1.jpg": b"tar 1",
    **{f"all/c.parquet/{i}": b"row %d" % i for i in range(7)},
}


def test_folder_is_searched_recursively(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = find_shards(["all"], batch_size=4)
    assert [type(shard) for shard in shards] == [Files, Archive, Archive]
    assert contents(shards) == ALL
    assert list(contents(shards))[:2] == ["all/b/9.png", "all/b/10.png"]
    assert count_images(shards) is None
    assert count_images([shard for shard in shards if shard.n_images is not None]) == 9
    # What is named twice is read once.
    assert contents(find_shards(["all/b/10.png", "all", "all/a.tar", "all"])) == ALL
    # Groups of three rows: shards are cut between groups alone.
    monkeypatch.setattr(shards_module, "MAX_SHARD_IMAGES", 4)
    rows = find_shards(["all/c.parquet"])
    assert [shard.n_images for shard in rows] == [6, 1]
    assert contents(rows) == {name: data for name, data in ALL.items() if "parquet" in name}


def test_path_lists_and_dataset_strings(place: Path) -> None:
    (place / "list.txt").write_text("all/b/9.png\n\nall/gone.png\n")
    items = contents(find_shards(["@list.txt"]))
    assert items["all/b/9.png"] == b"file 9"
    assert items["all/gone.png"] == "all/gone.png: no such file"
    with pytest.raises(DataError, match="has no split 'split9'"):
        find_shards(["GenImage:split=split9"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gone", r"dataset 'gone' is not one of"),
        ("gone/there", r"gone/there does not exist"),
        ("gone.png", r"gone.png does not exist"),
        ("empty", r"empty contains no images, .tar or .parquet files"),
        ("@gone.txt", r"path list gone.txt does not exist"),
        ("@blank.txt", r"path list blank.txt contains no paths"),
        ("http://host/x.png", r"URL http:.* is invalid. Use s3:"),
        ("s3://", r"URL s3:// is invalid. Use s3:"),
        ("text.parquet", r"text.parquet can't be read as a Parquet file"),
    ],
)
def test_invalid_source_is_an_error_before_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.txt").write_text("\n")
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(DataError, match=message):
        find_shards([source])


def test_missing_shard_is_an_error_item(place: Path) -> None:
    shards = find_shards(["all/a.tar", "all/c.parquet"])
    shutil.rmtree("all")
    for name, message in contents(shards).items():
        assert str(message).startswith(f"{name}: can't be read")


@given(st.integers(1, 5000), st.integers(1, 700))
def test_shards_of_files_hold_full_batches(total: int, batch_size: int) -> None:
    paths = [f"{i}.png" for i in range(total)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards_module, "read_path_list", lambda _: paths)
        shards = find_shards(["@list"], batch_size=batch_size)
    assert [path for shard in shards if isinstance(shard, Files) for path in shard.paths] == paths
    *full, last = (shard.n_images or 0 for shard in shards)
    assert len(set(full)) <= 1
    assert all(n % batch_size == 0 and n >= last for n in full)
    assert max([*full, last]) < shards_module.MAX_SHARD_IMAGES + batch_size
    assert len(shards) <= max(64, total / shards_module.MAX_SHARD_IMAGES + 1)


def test_non_utf8_name_hashes_like_its_text_in_tables(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.png")
    assert hash_name(name) == hash_name("\\xff.png") != hash_name("x.png")
    (tmp_path / name).write_bytes(b"1")
    (item,) = Files(Storage(), (str(tmp_path / name),)).read()
    assert item.load() == b"1"
