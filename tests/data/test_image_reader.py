"""Facts about images are read once, kept by content, and the same from the cache."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import whichgen.data.images.fact_store as store_module
import whichgen.data.images.image_reader as reader_module
from whichgen.data.dataset import Sample, list_images
from whichgen.data.images.decoding import read_image
from whichgen.data.images.image_facts import ImageFacts
from whichgen.data.images.image_reader import ImageReader
from whichgen.data.images.jpeg_history import JpegHistory
from whichgen.errors import ImageError, StoreError, WhichgenWarning


@pytest.fixture
def samples(image_folder: Callable[..., Path]) -> list[Sample]:
    """Six images: two JPEG files and four PNG files."""
    folder = image_folder({"real": 4})
    image_folder({"gan": 2}, suffix=".jpg", seed=1)
    return [Sample(path, path.parent.name) for path in list_images(folder)]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are decoded."""
    names: list[str] = []
    decode = reader_module.decode_file

    def record(data: bytes, name: str) -> object:
        names.append(name)
        return decode(data, name)

    monkeypatch.setattr(reader_module, "decode_file", record)
    return names


def test_facts_from_the_cache_equal_new_ones(
    samples: list[Sample], tmp_path: Path, decoded: list[str]
) -> None:
    new = list(ImageReader(tmp_path).read(samples, with_history=True))
    assert len(decoded) == 6
    again = ImageReader(tmp_path)
    assert list(again.read(samples, with_history=True)) == list(again.read(samples)) == new
    assert len(decoded) == 6
    assert [f.history for f in new if isinstance(f, ImageFacts)] == [
        *[JpegHistory(75, is_former_jpeg=False)] * 2,
        *[JpegHistory(0, is_former_jpeg=False)] * 4,
    ]
    image = read_image(samples[0].path)
    thumbnail = again.read_thumbnails(samples[:1])[0]
    (tmp_path / "small.jpg").write_bytes(thumbnail)
    assert read_image(tmp_path / "small.jpg").size == image.size


def test_errors_keep_the_order(samples: list[Sample], tmp_path: Path) -> None:
    samples[2].path.write_text("no image")
    missing = Sample(tmp_path / "none.png", "real")
    results = list(ImageReader().read([samples[2], samples[0], missing, samples[1]]))
    assert [isinstance(r, ImageFacts) for r in results] == [False, True, False, True]
    assert "not an image" in str(results[0])
    assert str(results[2]) == f"{missing.path}: no such file"
    assert ImageReader().read_thumbnails([missing, samples[0]])[0] == b""
    assert list(ImageReader().read([])) == []


def test_history_is_examined_when_it_is_needed(
    samples: list[Sample], tmp_path: Path, decoded: list[str]
) -> None:
    (facts,) = ImageReader(tmp_path).read(samples[:1])
    assert isinstance(facts, ImageFacts) and facts.history is None
    (all_facts,) = ImageReader(tmp_path).read(samples[:1], with_history=True)
    assert isinstance(all_facts, ImageFacts)
    assert all_facts == replace(facts, history=JpegHistory(75, is_former_jpeg=False))
    assert list(ImageReader(tmp_path).read(samples[:1])) == [all_facts]
    assert len(decoded) == 2


def test_a_changed_file_is_read_again(samples: list[Sample], decoded: list[str]) -> None:
    reader = ImageReader()
    first, second = reader.read(samples[:2])
    shutil.copyfile(samples[1].path, samples[0].path)
    os.utime(samples[0].path, ns=(1, 1))
    assert list(reader.read(samples[:2])) == [second, second] != [first, second]
    assert len(decoded) == 2


def test_readers_share_a_cache(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    monkeypatch.setattr(store_module, "_FLUSH_IMAGES", 2)
    monkeypatch.setattr(store_module, "_MAX_DIGESTS", 4)
    first, second = ImageReader(tmp_path), ImageReader(tmp_path)
    expected = list(first.read(samples[:4]))
    assert list(second.read(samples[:4])) == expected  # opened before the first wrote anything
    assert len(decoded) == 8
    all_facts = list(second.read(samples))
    assert list(ImageReader(tmp_path).read(samples)) == all_facts
    assert len(decoded) == 10


def test_a_cache_that_is_not_writable_is_read(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    list(ImageReader(tmp_path).read(samples[:3]))
    connect = store_module.sqlite3.connect

    def connect_read_only(file: Path, **options: float) -> object:
        return connect(f"{file.as_uri()}?mode=ro", uri=True, **options)

    monkeypatch.setattr(store_module.sqlite3, "connect", connect_read_only)
    reader = ImageReader(tmp_path)
    assert all(isinstance(facts, ImageFacts) for facts in reader.read(samples))
    assert all(reader.read_thumbnails(samples))
    assert len(decoded) == 6
    # Without a database, everything stays in memory.
    empty = ImageReader(tmp_path / "empty")
    assert list(empty.read(samples)) == list(reader.read(samples)) == list(empty.read(samples))
    assert len(decoded) == 12


@pytest.mark.parametrize("damage", ["other bytes", "other table"])
def test_damaged_database_is_replaced(samples: list[Sample], tmp_path: Path, damage: str) -> None:
    expected = list(ImageReader(tmp_path).read(samples))
    (file,) = tmp_path.rglob("*.sqlite")
    if damage == "other bytes":
        file.write_bytes(b"x" * 10_000)
    else:
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("ALTER TABLE images RENAME COLUMN digest TO name")
    with pytest.warns(WhichgenWarning, match=r"facts-2\.sqlite was damaged"):
        reader = ImageReader(tmp_path)
    assert list(reader.read(samples)) == expected
    assert list(ImageReader(tmp_path).read(samples)) == expected


def test_damaged_database_in_a_read_only_folder_is_ignored(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list(ImageReader(tmp_path).read(samples))
    (file,) = tmp_path.rglob("*.sqlite")
    file.write_bytes(b"x" * 10_000)

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    assert list(ImageReader(tmp_path).read(samples)) == expected
    assert file.read_bytes() == b"x" * 10_000


def test_database_damaged_during_a_run_is_an_error(samples: list[Sample], tmp_path: Path) -> None:
    reader = ImageReader(tmp_path)
    expected = list(reader.read(samples))
    (file,) = tmp_path.rglob("*.sqlite")
    file.write_bytes(b"x" * 10_000)
    with pytest.raises(StoreError, match=r"facts-2\.sqlite was damaged .* Try again"):
        list(reader.read(samples))
    assert list(reader.read(samples)) == expected
    assert list(ImageReader(tmp_path).read(samples)) == expected


def test_a_full_disk_is_an_error(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = ImageReader(tmp_path)
    connect = store_module.sqlite3.connect

    def connect_to_full_disk(file: Path, **options: float) -> object:
        database = connect(file, **options)
        database.execute("PRAGMA max_page_count = 1")
        return database

    with monkeypatch.context() as patch:
        patch.setattr(store_module.sqlite3, "connect", connect_to_full_disk)
        with pytest.raises(StoreError, match="No space left on device"):
            list(reader.read(samples))
    assert not any(isinstance(facts, ImageError) for facts in reader.read(samples))
    assert list(reader.read(samples)) == list(ImageReader(tmp_path).read(samples))


def test_a_cache_that_cannot_be_created_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't create"):
        ImageReader(tmp_path / "file")
