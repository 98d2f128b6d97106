"""Groups of images: read from a table and kept with a split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from whichgen.data.benchmarks import load_benchmark, write_benchmark
from whichgen.data.dataset import SPLITS
from whichgen.data.dataset_options import DatasetOptions
from whichgen.data.groups import read_groups, write_groups
from whichgen.errors import DataError


@pytest.mark.parametrize(
    ("name", "text", "column", "groups"),
    [
        ("g.tsv", "path\torigin\tcontent\na.png\treal\tx\nb,c.png\tgan\t\n", "", "x"),
        ("g.csv", 'group,path\nx,a.png\n,"b,c.png"\n', "", "x"),
        ("g.csv", 'file,seed,prompt\na.png,1,x\n"b,c.png",2,\n', "", "x"),
        ("g.csv", 'file,seed,prompt\na.png,1,x\n"b,c.png",,y\n', "seed", "1"),
    ],
)
def test_read_groups_from_tsv_and_csv(
    tmp_path: Path, name: str, text: str, column: str, groups: str
) -> None:
    (tmp_path / name).write_text(text)
    assert read_groups(tmp_path / name, column) == {"a.png": groups, "b,c.png": "b,c.png"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"path\na.png\n", "a header with the columns path and group"),
        (b"", "a header with the columns path and group"),
        (b"path\tgroup\n", "a header with the columns path and group"),
        (b"path\tx\na\tb\n", "has no column 'seed'. Choose from path, x"),
        (b"path\tseed\n\xff\xfe\t1\n", "is not UTF-8"),
    ],
)
def test_invalid_groups_file_is_an_error(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "g.tsv").write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_groups(tmp_path / "g.tsv", "seed")


def test_missing_groups_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_groups(tmp_path / "none.tsv")


def test_write_and_read_round_trip_for_any_name(tmp_path: Path) -> None:
    groups = {"/a\tb.png": "x", '/"q".png': "a\nb", "/é, ü.png": "y"}
    write_groups(tmp_path / "groups.tsv", groups)
    assert read_groups(tmp_path / "groups.tsv") == groups


def test_cached_split_keeps_its_groups(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = image_folder({"real": 12, "gan": 12, "flow": 8}, name="mine")
    names = [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*.png"))]
    write_groups(tmp_path / "g.tsv", {name: f"pair {int(name[-5]) // 2}" for name in names})
    source = DatasetOptions(str(folder), unknown=("flow",), groups=str(tmp_path / "g.tsv"))
    fresh = source.open(tmp_path / "cache")
    everything = [sample for part in SPLITS for sample in fresh.split(part)]
    assert {s.group for s in everything} == {f"pair {i}" for i in range(5)}
    assert all(s.group == f"pair {int(s.path.stem[-1]) // 2}" for s in everything)
    again = source.open(tmp_path / "cache")
    write_benchmark(fresh, tmp_path / "split", "mine")
    read = load_benchmark(f"mine:root={tmp_path / 'split'}")
    for part in SPLITS:
        assert again.split(part) == fresh.split(part) == read.split(part)
    splits = {part: tuple(replace(s, group="") for s in fresh.split(part)) for part in SPLITS}
    without = replace(fresh, **splits)
    write_benchmark(without, tmp_path / "split", "mine")
    assert load_benchmark(f"mine:root={tmp_path / 'split'}").train == without.train
