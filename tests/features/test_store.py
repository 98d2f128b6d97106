"""The feature store returns what was added, and failures lose nothing stored before."""

from __future__ import annotations

import errno
import json
import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file

import whichgen.features.store as store_module
from whichgen.errors import StoreError, WhichgenError
from whichgen.features.store import FeatureStore, compute_feature_key
from whichgen.training.parallel_sweeps import run_in_processes

Counting = Callable[..., Any]


def _keys(start: int, stop: int) -> list[bytes]:
    return [compute_feature_key(str(i).encode()) for i in range(start, stop)]


def _blocks(start: int, stop: int) -> list[np.ndarray]:
    """Rows that contain their number; the blocks have the dimensions of the counting encoder."""
    rows = np.arange(start, stop, dtype=np.float32)[:, None]
    return [rows * 100 + np.arange(12), -rows * 100 - np.arange(48)]


@pytest.fixture
def store(tmp_path: Path, counting: Counting) -> FeatureStore:
    """A store of ten rows in two segments."""
    store = FeatureStore(tmp_path / "store", counting().encoder)
    store.add(_keys(0, 6), _blocks(0, 6))
    store.add(_keys(6, 10), _blocks(6, 10))
    return store


def _reopen(store: FeatureStore, counting: Counting) -> FeatureStore:
    return FeatureStore(store.folder.parent, counting().encoder)


def _segments(store: FeatureStore) -> list[Path]:
    return sorted(store.folder.glob("*.safetensors"))


def test_rows_are_returned_in_the_requested_order(store: FeatureStore, counting: Counting) -> None:
    for each in (store, _reopen(store, counting)):
        assert len(each) == 10
        rows = [7, 0, 9, 0, 5, 6]
        for block, expected in enumerate(_blocks(0, 10)):
            features = each.read([_keys(0, 10)[i] for i in rows], block)
            assert features.dtype == np.float32
            assert np.array_equal(features, expected[rows])


def test_many_rows_are_a_memory_map_that_worker_processes_read(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(store_module, "MAX_MEMORY", 4 * 12 * 7)
    monkeypatch.setattr(store_module, "_CHUNK_ROWS", 3)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rows = [7, 0, 9, 0, 5, 6, 8, 1]
    keys, expected = [_keys(0, 10)[i] for i in rows], _blocks(0, 10)[0][rows]
    assert not isinstance(store.read(keys[:7], 0), np.memmap)
    features = store.read(keys, 0)
    assert isinstance(features, np.memmap)
    assert np.array_equal(features, expected)
    file = Path(features.filename)
    part = features[2:5]
    del features
    (copy,) = run_in_processes(np.copy, [(part,)], jobs=2)
    assert np.array_equal(copy, expected[2:5])
    assert file.exists()
    del part
    assert not file.exists()


def test_a_full_disk_is_reported_for_a_memory_map(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(store_module, "MAX_MEMORY", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(StoreError, match="TMPDIR"):
        store.read(_keys(0, 2), 0)


def test_no_keys_give_no_rows(store: FeatureStore) -> None:
    assert store.read([], 1).shape == (0, 48)


def test_a_missing_key_is_a_key_error(store: FeatureStore) -> None:
    assert _keys(3, 4)[0] in store
    assert _keys(10, 11)[0] not in store
    with pytest.raises(KeyError):
        store.read(_keys(9, 11), 0)


def test_keys_depend_on_content_and_perturbation() -> None:
    keys = {compute_feature_key(d, p) for d in (b"a", b"b") for p in ("", "jpeg:30", "jpeg:3")}
    assert len(keys) == 6
    assert {len(k) for k in keys} == {32}


def test_only_requested_rows_are_read(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped: list[np.memmap[Any, Any]] = []
    indices: list[Any] = []

    class RecordingMap(np.memmap):  # type: ignore[type-arg]
        def __new__(cls, *args: Any, **options: Any) -> Any:
            mapped.append(super().__new__(cls, *args, **options))
            return mapped[-1]

        def __getitem__(self, rows: Any) -> Any:
            indices.append(np.asarray(rows).tolist())
            return super().__getitem__(rows)

    monkeypatch.setattr(np, "memmap", RecordingMap)
    store.read([_keys(0, 10)[i] for i in (8, 3, 1)], 1)
    assert [m.mode for m in mapped] == ["r", "r"]
    assert sorted(r for r in indices if r) == [[2], [3, 1]]


def test_encoders_have_separate_stores(store: FeatureStore, counting: Counting) -> None:
    other = FeatureStore(store.folder.parent, counting(weights="1" * 32).encoder)
    assert len(other) == 0
    assert other.folder != store.folder
    description = json.loads((other.folder / "encoder.json").read_text())
    assert description["weights_hash"] == "1" * 32


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "other tensors", "longer"])
def test_a_damaged_segment_is_renamed_and_the_others_work(
    store: FeatureStore, counting: Counting, damage: str
) -> None:
    path = next(
        p
        for p in _segments(store)
        if p.stat().st_size == min(s.stat().st_size for s in _segments(store))
    )
    data = path.read_bytes()
    if damage == "other tensors":
        keys = np.frombuffer(b"".join(_keys(6, 10)), np.uint8).reshape(4, 32)
        save_file({"keys": keys, "block_000": np.zeros((3, 12), np.float32)}, path)
    else:
        damaged = {
            "cut": data[:-7],
            "empty": b"",
            "garbage": os.urandom(300),
            "longer": data + b"more",
        }
        path.write_bytes(damaged[damage])
    reopened = _reopen(store, counting)
    assert len(reopened) == 6
    assert np.array_equal(reopened.read(_keys(0, 6), 0), _blocks(0, 6)[0])
    assert path.with_suffix(".damaged").exists()
    assert len(_segments(reopened)) == 1
    # The lost rows can be added again.
    reopened.add(_keys(6, 10), _blocks(6, 10))
    assert np.array_equal(_reopen(store, counting).read(_keys(0, 10), 1), _blocks(0, 10)[1])


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EIO])
def test_a_segment_that_cannot_be_opened_is_not_damaged(
    store: FeatureStore, counting: Counting, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def failing(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "safe_open", failing)
        with pytest.raises(StoreError, match=os.strerror(number)):
            _reopen(store, counting)
    assert len(_reopen(store, counting)) == 10


def test_a_segment_renamed_by_another_process_is_no_error(
    store: FeatureStore, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = _segments(store)
    original = store_module.safe_open

    def opening(path: Path, **options: Any) -> Any:
        first.unlink(missing_ok=True)
        return original(path, **options)

    monkeypatch.setattr(store_module, "safe_open", opening)
    assert len(_reopen(store, counting)) in (4, 6)


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "error",
    # safetensors writes in Rust and raises its own error.
    [FULL, SafetensorError("I/O error: No space left on device (os error 28)")],
)
def test_a_full_disk_is_reported_and_loses_nothing(
    store: FeatureStore, counting: Counting, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fill_disk(_tensors: Any, path: Path) -> None:
        path.write_bytes(b"half a segm")
        raise error

    before = sorted(p.name for p in store.folder.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "save_file", fill_disk)
        with pytest.raises(WhichgenError, match=r"No space left .*free disk space") as caught:
            store.add(_keys(10, 12), _blocks(10, 12))
    assert isinstance(caught.value, StoreError)
    assert str(store.folder) in str(caught.value)
    assert sorted(p.name for p in store.folder.iterdir()) == before
    assert len(store) == len(_reopen(store, counting)) == 10
    store.add(_keys(10, 12), _blocks(10, 12))
    assert np.array_equal(store.read(_keys(0, 12), 0), _blocks(0, 12)[0])


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path, counting: Counting) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="can't write the feature store"):
        FeatureStore(tmp_path / "file", counting().encoder)


def test_a_deleted_segment_is_reported(store: FeatureStore) -> None:
    for path in _segments(store):
        path.unlink()
    with pytest.raises(StoreError, match="is missing or truncated"):
        store.read(_keys(0, 1), 0)


def test_a_row_added_twice_is_one_row(store: FeatureStore, counting: Counting) -> None:
    store.add(_keys(4, 8), _blocks(4, 8))
    assert len(store) == 10
    again = _reopen(store, counting)
    assert len(again) == 10
    assert np.array_equal(again.read(_keys(0, 10), 1), _blocks(0, 10)[1])


def test_refresh_reads_rows_of_other_stores(store: FeatureStore, counting: Counting) -> None:
    other = _reopen(store, counting)
    store.add(_keys(10, 13), _blocks(10, 13))
    other.add(_keys(13, 15), _blocks(13, 15))
    assert (len(store), len(other)) == (13, 12)
    store.refresh()
    other.refresh()
    store.refresh()  # refreshing again adds nothing
    for each in (store, other):
        assert len(each) == 15
        assert np.array_equal(each.read(_keys(0, 15), 0), _blocks(0, 15)[0])


def test_two_stores_write_one_folder_concurrently(tmp_path: Path, counting: Counting) -> None:
    root = tmp_path / "store"
    start = threading.Barrier(2)

    def write(first: int) -> FeatureStore:
        start.wait()
        store = FeatureStore(root, counting().encoder)
        for i in range(first, first + 20):
            store.add(_keys(i, i + 1), _blocks(i, i + 1))
            store.refresh()
        return store

    with ThreadPoolExecutor(2) as pool:
        stores = list(pool.map(write, (0, 20)))
    for store in (*stores, FeatureStore(root, counting().encoder)):
        store.refresh()
        assert len(store) == 40
        assert np.array_equal(store.read(_keys(0, 40), 1), _blocks(0, 40)[1])
    assert len(list(stores[0].folder.iterdir())) == 41  # no damaged or temporary files
