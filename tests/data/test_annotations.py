"""Annotation files: round trips, and errors that name the line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichgen.data.dataset import Sample
from whichgen.data.tables.annotations import read_annotations, write_annotations
from whichgen.errors import DataError

KNOWN = ("real", "gan", "diffusion")
UNKNOWN = ("glide", "ADM")
LABELS = {origin: i for i, origin in enumerate((*KNOWN, *UNKNOWN))}


def _write(file: Path, *lines: str) -> Path:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


# No tab, no line feed, no carriage return, no "/" and no lone surrogates; all else can be a name.
_names = st.text(
    st.characters(blacklist_characters="\t\n\r/\0", blacklist_categories=("Cs",)), min_size=1
)


@given(st.lists(st.tuples(_names, st.sampled_from(KNOWN)), max_size=8))
def test_write_and_read_round_trip(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    samples = tuple(Sample(Path("/images") / name, origin) for name, origin in rows)
    file = tmp_path_factory.mktemp("annotations") / "train.txt"
    write_annotations(file, samples, LABELS)
    assert read_annotations(file, KNOWN, bases=[Path("/elsewhere")]) == samples


def test_paths_are_written_absolute(tmp_path: Path) -> None:
    write_annotations(tmp_path / "a.txt", [Sample(Path("x.png"), "ADM")], LABELS)
    assert (tmp_path / "a.txt").read_text() == f"{Path.cwd() / 'x.png'}\t4\n"


@pytest.mark.parametrize(
    "name", ["a\tb.png", "a\nb.png", "a\r\nb.png", '"q".png', "a,b;c.png", os.fsdecode(b"\xff.png")]
)
def test_every_file_name_survives(tmp_path: Path, name: str) -> None:
    samples = (Sample(tmp_path / name, "real"), Sample(tmp_path / "b.png", "gan"))
    write_annotations(tmp_path / "a.txt", samples, LABELS)
    assert read_annotations(tmp_path / "a.txt", KNOWN, bases=[]) == samples


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "lines",
    [
        ("gan/a b,c.png\tgan", "", "# comment", "real/d.png\t0  "),
        ("path\tlabel", "gan/a b,c.png\tgan", "real/d.png\treal"),
        ("Label;File Path", "gan;gan/a b,c.png;;", "real;real/d.png"),
        ("origin,image", 'gan,"gan/a b,c.png"', 'real,"real/d.png"', ",,"),
        ("sep=;", "gan\\a b,c.png;gan", "real\\d.png ;real"),
    ],
)
def test_tables_of_spreadsheets_are_read(
    tmp_path: Path, lines: tuple[str, ...], end: str, encoding: str
) -> None:
    for name in ("gan/a b,c.png", "real/d.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    for suffix in (".txt", ".csv"):
        (tmp_path / f"a{suffix}").write_bytes(end.join(lines).encode(encoding))
        assert read_annotations(tmp_path / f"a{suffix}", KNOWN, bases=[tmp_path]) == (
            Sample(tmp_path / "gan/a b,c.png", "gan"),
            Sample(tmp_path / "real/d.png", "real"),
        )


def test_indices_are_positions_among_known_origins(tmp_path: Path) -> None:
    file = _write(tmp_path / "train.txt", "/a.png\t0", "/b.png\t2", "/c d.png\t1")
    samples = read_annotations(file, KNOWN, bases=[])
    assert samples == (
        Sample(Path("/a.png"), "real"),
        Sample(Path("/b.png"), "diffusion"),
        Sample(Path("/c d.png"), "gan"),
    )


@pytest.mark.parametrize("first", [0, 3], ids=["from 0", "going on from the known"])
def test_unknown_indices_start_at_zero_or_continue(tmp_path: Path, first: int) -> None:
    file = _write(tmp_path / "out.txt", f"/a.png\t{first + 1}", f"/b.png\t{first}")
    samples = read_annotations(file, UNKNOWN, bases=[], first_index=3)
    assert [s.origin for s in samples] == ["ADM", "glide"]


def test_names_indices_blank_lines_and_crlf_mix(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbf/a.png\tgan\r\n\r\n/b\tc.png\t0 \r\n")
    assert read_annotations(file, KNOWN, bases=[]) == (
        Sample(Path("/a.png"), "gan"),
        Sample(Path("/b\tc.png"), "real"),
    )


def test_origin_whose_name_is_a_number_matches_by_name(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.txt", "/a.png\t2", "/b.png\t1")
    samples = read_annotations(file, ("2", "1"), bases=[])
    assert [s.origin for s in samples] == ["2", "1"]


def test_labels_of_own_files_are_indices_only(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.txt", "/a.png\t1", "/b.png\t0")
    samples = read_annotations(file, ("1", "0"), bases=[], indices=True)
    assert [s.origin for s in samples] == ["0", "1"]
    # In a file of one unknown origin with the index 3, no index is smaller.
    file = _write(tmp_path / "b.txt", "/a.png\t3")
    assert read_annotations(file, ("2",), bases=[], first_index=3, indices=True)[0].origin == "2"
    file = _write(tmp_path / "c.txt", "/a.png\treal")
    with pytest.raises(
        DataError, match=r"line 1: invalid label 'real'\. Use an index from 0 to 2\."
    ):
        read_annotations(file, KNOWN, bases=[], indices=True)


def test_relative_paths_start_from_the_base_with_the_images(tmp_path: Path) -> None:
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


def test_first_base_is_used_if_no_image_exists(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.txt", "a.png\treal")
    assert read_annotations(file, KNOWN, bases=[tmp_path])[0].path == tmp_path / "a.png"


def test_empty_file_has_no_samples(tmp_path: Path) -> None:
    assert read_annotations(_write(tmp_path / "a.txt"), KNOWN, bases=[]) == ()


@pytest.mark.parametrize("line", ["/b.png real", "/b.png\t", "\treal"])
def test_malformed_line_names_its_number(tmp_path: Path, line: str) -> None:
    file = _write(tmp_path / "a.txt", "/a.png\treal", "", line)
    with pytest.raises(
        DataError, match=r"line 3: expected a path and a label.*by one tab"
    ) as caught:
        read_annotations(file, KNOWN, bases=[])
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("label", ["3", "-1", "1.0", "Gan", "²"])
def test_label_out_of_range_names_its_line(tmp_path: Path, label: str) -> None:
    file = _write(tmp_path / "a.txt", "/a.png\t0", f"/b.png\t{label}")
    with pytest.raises(
        DataError, match=r"line 2: invalid label .* Use an index from 0 to 2"
    ) as caught:
        read_annotations(file, KNOWN, bases=[])
    assert str(file) in str(caught.value)
    assert "real, gan, diffusion" in str(caught.value)


def test_mixed_unknown_indices_are_out_of_range(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.txt", "/a.png\t3", "/b.png\t5")
    with pytest.raises(DataError, match=r"line 2: invalid label '5'.* 3 to 4"):
        read_annotations(file, UNKNOWN, bases=[], first_index=3)


def test_missing_annotation_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt does not exist.*specify their folder"):
        read_annotations(tmp_path / "none.txt", KNOWN, bases=[])


def test_binary_annotation_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\x80\xfe\x00\x01")
    with pytest.raises(DataError, match=r"a\.txt is not UTF-8 text"):
        read_annotations(tmp_path / "a.txt", KNOWN, bases=[])


def test_folder_instead_of_annotation_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read"):
        read_annotations(tmp_path, KNOWN, bases=[])
