"""Atomic writes, and hashes of run metadata."""

from __future__ import annotations

import errno
import json
import os
import stat
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import whichgen.io.atomic_writes as atomic_module
from whichgen.io.atomic_writes import replace_file, replace_folder, write_text
from whichgen.io.run_metadata import collect_run_metadata, hash_parts
from whichgen.version import __version__


def test_file_is_replaced_atomically(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "erste Fassung: ä")
    assert path.read_bytes() == "erste Fassung: ä".encode()
    with replace_file(path) as temporary:
        temporary.write_text("half")
        assert temporary.parent == path.parent
        assert path.read_text(encoding="utf-8") == "erste Fassung: ä"
    assert path.read_text() == "half"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit])
def test_error_leaves_the_file_unchanged(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "before")
    with pytest.raises(error), replace_file(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_error_names_the_target_and_not_the_temporary_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error, replace_file(tmp_path / "a.txt") as temporary:
        (temporary / "missing").write_text("")
    assert error.value.filename == str(tmp_path / "a.txt" / "missing")
    with pytest.raises(OSError) as error, replace_folder(tmp_path / "b") as temporary:
        (temporary / "missing" / "c.txt").write_text("")
    assert error.value.filename == str(tmp_path / "b" / "missing" / "c.txt")


def test_unwritten_temporary_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replace_file(tmp_path / "a.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_folder_is_replaced_completely_or_not_at_all(
    tmp_path: Path, error: type[BaseException]
) -> None:
    folder = tmp_path / "new" / "g"
    with replace_folder(folder) as temporary:
        write_text(temporary / "a.txt", "first")
        assert not folder.exists()
    with pytest.raises(error), replace_folder(folder) as temporary:
        write_text(temporary / "a.txt", "half")
        raise error
    assert (folder / "a.txt").read_text() == "first"
    with replace_folder(folder) as temporary:
        write_text(temporary / "b.txt", "second")
    assert [p.name for p in folder.iterdir()] == ["b.txt"]
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("fails", [1, 2])
def test_failed_rename_keeps_the_old_folder(
    tmp_path: Path, fails: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, moves, replace = tmp_path / "g", list[Path](), Path.replace
    with replace_folder(folder) as temporary:
        write_text(temporary / "a.txt", "first")

    def fail_rename(path: Path, target: Path) -> Path:
        moves.append(path)
        if len(moves) == fails:
            raise OSError("no")
        return replace(path, target)

    with pytest.raises(OSError, match="no"), replace_folder(folder) as temporary:
        (temporary / "b.txt").write_text("second")
        monkeypatch.setattr(Path, "replace", fail_rename)
    assert (folder / "a.txt").read_text() == "first"
    assert list(tmp_path.iterdir()) == [folder]


@given(st.lists(st.text(), max_size=5), st.lists(st.text(), max_size=5))
def test_hash_depends_on_the_boundaries_of_parts(first: list[str], second: list[str]) -> None:
    assert (hash_parts(first) == hash_parts(second)) == (first == second)


def test_hash_is_128_bits_and_text_equals_its_bytes() -> None:
    assert len(hash_parts([])) == 32
    assert hash_parts(["ä"]) == hash_parts(["ä".encode()])


def test_run_metadata_is_json() -> None:
    record = collect_run_metadata(
        {"data": "x"}, seeds={"split": 3}, encoder={"name": "e"}, data_hash="0123"
    )
    assert json.loads(json.dumps(record)) == record
    assert record["config"] == {"data": "x"}
    assert record["seeds"] == {"split": 3}
    assert record["encoder"] == {"name": "e"}
    assert record["data_hash"] == "0123"
    assert record["whichgen"] == __version__
    assert set(record["libraries"]) >= {"numpy", "scikit-learn", "torch", "transformers"}
    age = datetime.now(UTC) - datetime.fromisoformat(record["time"])
    assert timedelta(0) <= age < timedelta(minutes=1)


def test_only_abandoned_temporaries_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    ages = {"dead": 2 * 3600, "of another clock": -365 * 86400, "written now": 60}
    leftovers = {name: tmp_path / f".{name}.{uuid.uuid4().hex}.tmp" for name in ages}
    others = [tmp_path / name for name in (".mine.tmp", "dead.tmp", f".x.{'0' * 31}.tmp")]
    for name, file in leftovers.items():
        file.touch()
        os.utime(file, (now - ages[name],) * 2)
    for file in others:
        file.touch()
        os.utime(file, (0, 0))
    atomic_module._remove_abandoned.cache_clear()
    write_text(tmp_path / "a", "new")
    assert {*tmp_path.iterdir()} == {tmp_path / "a", leftovers["written now"], *others}
    # A folder is looked through once; the store may hold a hundred thousand files.
    monkeypatch.setattr(Path, "glob", None)
    write_text(tmp_path / "b", "new")


def test_file_is_synced_before_the_next_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[str] = []
    place = {tmp_path: "root", tmp_path / "a": "a", tmp_path / "a" / "b": "b"}

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        syncs.append(place.get(path, path.suffix))

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("which file a descriptor is of is told on Linux only")
    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "a" / "b" / "file", "new")
    write_text(tmp_path / "a" / "b" / "file", "newer")
    # The folder that holds b, the one that holds a; then the file, then its name.
    assert syncs == ["a", "root", ".tmp", "b", ".tmp", "b"]


def test_unsyncable_folder_is_not_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
