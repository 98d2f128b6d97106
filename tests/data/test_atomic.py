"""Files appear whole or not at all; results carry what made them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichgen.atomic import replacing, replacing_folder, write_text
from whichgen.provenance import fingerprint, provenance
from whichgen.version import __version__


def test_a_file_takes_its_place_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "erste Fassung: ä")
    assert path.read_bytes() == "erste Fassung: ä".encode()
    with replacing(path) as temporary:
        temporary.write_text("half")
        assert temporary.parent == path.parent
        assert path.read_text(encoding="utf-8") == "erste Fassung: ä"
    assert path.read_text() == "half"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_everything_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "before")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_temporary_that_was_never_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_folder_takes_its_place_whole_or_not_at_all(
    tmp_path: Path, error: type[BaseException]
) -> None:
    folder = tmp_path / "new" / "g"
    with replacing_folder(folder) as temporary:
        write_text(temporary / "a.txt", "first")
        assert not folder.exists()
    with pytest.raises(error), replacing_folder(folder) as temporary:
        write_text(temporary / "a.txt", "half")
        raise error
    assert (folder / "a.txt").read_text() == "first"
    with replacing_folder(folder) as temporary:
        write_text(temporary / "b.txt", "second")
    assert [p.name for p in folder.iterdir()] == ["b.txt"]
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("fails", [1, 2])
def test_a_folder_that_can_not_be_moved_leaves_the_old_one(
    tmp_path: Path, fails: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, moves, replace = tmp_path / "g", list[Path](), Path.replace
    with replacing_folder(folder) as temporary:
        write_text(temporary / "a.txt", "first")

    def failing(path: Path, target: Path) -> Path:
        moves.append(path)
        if len(moves) == fails:
            raise OSError("no")
        return replace(path, target)

    with pytest.raises(OSError, match="no"), replacing_folder(folder) as temporary:
        (temporary / "b.txt").write_text("second")
        monkeypatch.setattr(Path, "replace", failing)
    assert (folder / "a.txt").read_text() == "first"
    assert list(tmp_path.iterdir()) == [folder]


@given(st.lists(st.text(), max_size=5), st.lists(st.text(), max_size=5))
def test_fingerprints_are_of_the_parts_and_not_of_their_sum(
    first: list[str], second: list[str]
) -> None:
    assert (fingerprint(first) == fingerprint(second)) == (first == second)


def test_a_fingerprint_is_128_bits_and_text_is_its_bytes() -> None:
    assert len(fingerprint([])) == 32
    assert fingerprint(["ä"]) == fingerprint(["ä".encode()])


def test_a_result_s_record_is_json_and_says_what_made_it() -> None:
    record = provenance({"data": "x"}, seeds={"split": 3}, encoder={"name": "e"}, data_hash="0123")
    assert json.loads(json.dumps(record)) == record
    assert record["config"] == {"data": "x"}
    assert record["seeds"] == {"split": 3}
    assert record["encoder"] == {"name": "e"}
    assert record["data_hash"] == "0123"
    assert record["whichgen"] == __version__
    assert set(record["libraries"]) >= {"numpy", "scikit-learn", "torch", "transformers"}
    age = datetime.now(UTC) - datetime.fromisoformat(record["time"])
    assert timedelta(0) <= age < timedelta(minutes=1)
