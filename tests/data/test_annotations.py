"""Annotation files: what is written is read back, and what is wrong is told with its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichgen.data.annotations import read_annotations, write_annotations
from whichgen.data.dataset import Sample
from whichgen.errors import DataError

KNOWN = ("real", "gan", "diffusion")
UNKNOWN = ("glide", "ADM")


def _write(file: Path, *lines: str) -> Path:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


# No tab, no line feed, no carriage return, no "/" and no lone surrogates; all else can be a name.
_names = st.text(
    st.characters(blacklist_characters="\t\n\r/\0", blacklist_categories=("Cs",)), min_size=1
)


@given(st.lists(st.tuples(_names, st.sampled_from(KNOWN)), max_size=8))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    samples = tuple(Sample(Path("/images") / name, origin) for name, origin in rows)
    file = tmp_path_factory.mktemp("annotations") / "train.txt"
    write_annotations(file, samples)
    assert read_annotations(file, KNOWN, bases=[Path("/elsewhere")]) == samples


def test_relative_samples_are_written_absolute(tmp_path: Path) -> None:
    write_annotations(tmp_path / "a.txt", [Sample(Path("x.png"), "real")])
    assert (tmp_path / "a.txt").read_text() == f"{Path.cwd() / 'x.png'}\treal\n"


@pytest.mark.parametrize("name", ["a\tb.png", "a\nb.png", "a\rb.png", os.fsdecode(b"\xff.png")])
def test_a_name_that_can_not_be_written_is_refused_and_nothing_is_left(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(DataError, match="rename the file"):
        write_annotations(tmp_path / "a.txt", [Sample(tmp_path / name, "real")])
    assert list(tmp_path.iterdir()) == []


def test_numbers_are_positions_among_the_known(tmp_path: Path) -> None:
    file = _write(tmp_path / "train.txt", "/a.png\t0", "/b.png\t2", "/c d.png\t1")
    samples = read_annotations(file, KNOWN, bases=[])
    assert samples == (
        Sample(Path("/a.png"), "real"),
        Sample(Path("/b.png"), "diffusion"),
        Sample(Path("/c d.png"), "gan"),
    )


@pytest.mark.parametrize("first", [0, 3], ids=["from 0", "going on from the known"])
def test_unknown_numbers_count_from_zero_or_go_on(tmp_path: Path, first: int) -> None:
    file = _write(tmp_path / "out.txt", f"/a.png\t{first + 1}", f"/b.png\t{first}")
    samples = read_annotations(file, UNKNOWN, bases=[], first_index=3)
    assert [s.origin for s in samples] == ["ADM", "glide"]


def test_names_and_numbers_and_blank_lines_and_windows_ends_mix(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbf/a.png\tgan\r\n\r\n/b\tc.png\t0 \r\n")
    assert read_annotations(file, KNOWN, bases=[]) == (
        Sample(Path("/a.png"), "gan"),
        Sample(Path("/b\tc.png"), "real"),
    )


def test_an_origin_named_by_a_number_is_found_by_name(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.txt", "/a.png\t2", "/b.png\t1")
    samples = read_annotations(file, ("2", "1"), bases=[])
    assert [s.origin for s in samples] == ["2", "1"]


def test_relative_paths_are_taken_from_the_base_that_holds_them(tmp_path: Path) -> None:
    for base in ("one", "two"):
        (tmp_path / base).mkdir()
    (tmp_path / "two" / "b.png").touch()
    # The first image is gone; the second one tells the base.
    file = _write(tmp_path / "a.txt", "a.png\treal", "b.png\treal", "/c.png\treal")
    samples = read_annotations(file, KNOWN, bases=[tmp_path / "one", tmp_path / "two"])
    assert [s.path for s in samples] == [
        tmp_path / "two" / "a.png",
        tmp_path / "two" / "b.png",
        Path("/c.png"),
    ]


def test_where_no_image_exists_the_first_base_is_taken(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.txt", "a.png\treal")
    assert read_annotations(file, KNOWN, bases=[tmp_path])[0].path == tmp_path / "a.png"


def test_an_empty_file_holds_no_samples(tmp_path: Path) -> None:
    assert read_annotations(_write(tmp_path / "a.txt"), KNOWN, bases=[]) == ()


@pytest.mark.parametrize("line", ["/b.png real", "/b.png\t", "\treal"])
def test_a_line_that_is_not_path_tab_label_is_told_with_its_number(
    tmp_path: Path, line: str
) -> None:
    file = _write(tmp_path / "a.txt", "/a.png\treal", "", line)
    with pytest.raises(DataError, match=r"line 3: expected .path<TAB>label.*by one tab") as caught:
        read_annotations(file, KNOWN, bases=[])
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("label", ["3", "-1", "1.0", "Gan", "²"])
def test_a_label_out_of_range_is_told_with_its_number(tmp_path: Path, label: str) -> None:
    file = _write(tmp_path / "a.txt", "/a.png\t0", f"/b.png\t{label}")
    with pytest.raises(DataError, match=r"line 2: label .* Use an index from 0 to 2") as caught:
        read_annotations(file, KNOWN, bases=[])
    assert str(file) in str(caught.value)
    assert "real, gan, diffusion" in str(caught.value)


def test_unknown_numbers_that_neither_count_nor_go_on_are_out_of_range(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.txt", "/a.png\t3", "/b.png\t5")
    with pytest.raises(DataError, match=r"line 2: label '5' .* 3 to 4"):
        read_annotations(file, UNKNOWN, bases=[], first_index=3)


def test_a_missing_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt does not exist.*whichgen dataset split"):
        read_annotations(tmp_path / "none.txt", KNOWN, bases=[])


def test_what_is_not_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match=r"a\.txt is not UTF-8 text"):
        read_annotations(tmp_path / "a.txt", KNOWN, bases=[])


def test_a_folder_in_a_file_s_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read"):
        read_annotations(tmp_path, KNOWN, bases=[])
