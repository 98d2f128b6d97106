"""Groups of images: read from a table and kept with a split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from whichgen.data.benchmarks import load_benchmark, write_benchmark
from whichgen.data.dataset import SPLITS
from whichgen.data.dataset_options import DatasetOptions
from whichgen.data.groups import list_source_folders, read_groups, read_sources, write_names
from whichgen.errors import DataError


@pytest.mark.parametrize(
    ("name", "text", "column", "groups"),
    [
        ("g.tsv", "path\torigin\tcontent\na.png\treal\tx\nb,c.png\tgan\t\n", "", "x"),
        ("g.csv", 'group,path\nx,a.png\n,"b,c.png"\n', "", "x"),
        ("g.csv", 'file,seed,prompt\na.png,1,x\n"b,c.png",2,\n', "", "x"),
        ("g.csv", 'file,seed,prompt\na.png,1,x\n"b,c.png",,y\n', "seed", "1"),
        ("g.csv", "path;group\na.png;x\nb,c.png;\n", "", "x"),
        ("g.csv", "group\tpath\nx\ta.png\n\tb,c.png\n", "", "x"),
        ("g.tsv", "path;group\na.png;x\nb,c.png;\n", "", "x"),
    ],
)
def test_read_groups_from_tsv_and_csv(
    tmp_path: Path, name: str, text: str, column: str, groups: str
) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / name).write_text(text, encoding=encoding)
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
    write_names(tmp_path / "groups.tsv", "group", groups)
    assert read_groups(tmp_path / "groups.tsv") == groups


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.tsv", "path\tsource\tgroup\na.png\tsite\tx\nb.png\t\ty\n"),
        ("s.csv", "file,content,site\na.png,x,site\nb.png,y,\n"),
    ],
)
def test_read_sources_from_tsv_and_csv(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_sources(tmp_path / name) == {"a.png": "site", "b.png": "b.png"}


def test_invalid_sources_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "s.tsv").write_text("path\n")
    with pytest.raises(DataError, match=r"sources file .* the columns path and source"):
        read_sources(tmp_path / "s.tsv")


def test_source_folders_are_below_the_origins(tmp_path: Path) -> None:
    for name in ("real/site/a.png", "real/site/deep/b.png", "gan/site/a.png", "gan/blog/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_source_folders(tmp_path) == {
        "gan/blog/a.png": "blog",
        "gan/site/a.png": "site",
        "real/site/a.png": "site",
        "real/site/deep/b.png": "site",
    }
    (tmp_path / "gan" / "c.png").touch()
    with pytest.raises(DataError, match=r"gan/c\.png is not in a source folder. Move it to"):
        list_source_folders(tmp_path)


def test_cached_split_keeps_its_groups(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = image_folder({"real": 12, "gan": 12, "flow": 8}, name="mine")
    names = [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*.png"))]
    groups = {name: f"pair {int(name[-5]) // 2}" for name in names}
    write_names(tmp_path / "g.tsv", "group", groups)
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


def test_saved_split_keeps_its_sources(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    origins = {f"{origin}/{site}": 3 for origin in ("real", "gan") for site in "abcd"}
    folder = image_folder({**origins, "flow/a": 3, "flow/e": 3}, name="mine")
    options = DatasetOptions(str(folder), unknown=("flow",))
    without = options.open(tmp_path / "cache")
    options = replace(options, sources="folders")
    fresh = options.open(tmp_path / "cache")
    assert DatasetOptions.from_config(options.as_config()) == options
    again = options.open(tmp_path / "cache")
    write_benchmark(fresh, tmp_path / "split", "mine")
    read = load_benchmark(f"mine:root={tmp_path / 'split'}")
    for part in SPLITS:
        assert all(s.source == s.path.parent.name for s in fresh.split(part))
        assert again.split(part) == fresh.split(part) == read.split(part)
        assert not any(s.source for s in without.split(part))
    names = {p.relative_to(folder).as_posix(): p.parent.name for p in folder.rglob("*.png")}
    write_names(tmp_path / "s.tsv", "source", names)
    from_file = replace(options, sources=str(tmp_path / "s.tsv"))
    assert from_file.open(tmp_path / "other").train == fresh.train
    write_benchmark(without, tmp_path / "split", "mine")
    assert load_benchmark(f"mine:root={tmp_path / 'split'}").train == without.train
