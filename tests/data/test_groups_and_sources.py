"""Groups of images: read from a table and kept with a split."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from whichgen.data.benchmarks.benchmark_files import load_benchmark, write_benchmark
from whichgen.data.dataset import SPLITS
from whichgen.data.dataset_options import DatasetOptions
from whichgen.data.tables.groups_and_sources import (
    list_source_folders,
    read_groups,
    read_sources,
    write_names,
)
from whichgen.errors import DataError, WhichgenWarning


@pytest.mark.parametrize(
    ("name", "text", "column", "groups"),
    [
        ("g.tsv", "path\torigin\tcontent\na.png\treal\tx\nb,c.png\tgan\t\n", "", "x"),
        ("g.csv", 'group,path\nx,a.png\n,"b,c.png"\n', "", "x"),
        ("g.csv", 'File Name,prompt\na.png,x\n"b,c.png",\n', "", "x"),
        ("g.csv", 'file,seed,prompt\na.png,1,x\n"b,c.png",2,\n', "3", "x"),
        ("g.csv", 'a.png,x\n"b,c.png",\n', "", "x"),
        ("g.txt", "x;a.png;;\n;b,c.png;;\n", "", "x"),
        ("g.csv", "sep=\t\n# made by hand\nGROUP\tImage\n x \ta.png \n\n\tb,c.png\n", "", "x"),
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
        (b"path\na.png\n", "a table with the columns path and group"),
        (b"", "a table with the columns path and group"),
        (b"path\tgroup\n", "a table with the columns path and group"),
        (b"path\tx\na\tb\n", "has no column 'seed'. Set `group_column` to one of x"),
        (b"path\tseed\n\xff\0\xfe\t1\n", "is not UTF-8"),
        (
            b"PK\x03\x04\x14\0\x06\0",
            "is a workbook or an archive, not UTF-8 text. Save its content",
        ),
        (b"PK\x03\x04\x14\0\x08\xff\0", "is a workbook or an archive, not UTF-8 text"),
        (b"path\tseed\na.png\t1\na.png\t2\n", "line 3: a.png has the group '2', but on line 2 it"),
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


PATHS = {
    "relative": "{}",
    "with the folder's name": "images/{}",
    "from here": "./images//{}",
    "absolute": "FOLDER/{}",
    "moved": "/mnt/old disk/images/{}",
    "Windows": "C:\\\\Users\\\\me\\\\images\\\\{}",
    "blanks": " {} ",
}


@pytest.mark.parametrize("pattern", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("header", ["path\tgroup\n", ""])
def test_paths_are_matched_to_the_images(
    image_folder: Callable[..., Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    pattern: str,
    header: str,
) -> None:
    folder = image_folder({"gan": 4, "real": 4})
    (folder / "gan" / "000.png").rename(folder / "gan" / "caf\u00e9.png")  # composed
    images = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))
    groups = {image: f"g{i // 2}" for i, image in enumerate(images)}
    lines = []
    for image, group in groups.items():
        name = unicodedata.normalize("NFD", image).replace("/", "\\" if "C:" in pattern else "/")
        path = pattern.replace("FOLDER", str(folder)).replace("\\\\", "\\").format(name)
        lines.append(f"{path}\t{group}\n")
    (tmp_path / "g.tsv").write_text(header + "".join(lines), encoding="utf-16")
    with warnings.catch_warnings(record=True) as caught, caplog.at_level("INFO"):
        assert read_groups(tmp_path / "g.tsv", folder=folder) == groups
    # Columns without names are a guess, which is worth a warning.
    (message,) = caplog.messages if header else [str(caught[0].message)]
    assert len(caught) == (not header)
    assert "4 groups; rows for 8 of 8 images." in message
    column = "groups in column `group`" if header else r"groups in column 2 (no header)"
    assert column in message


def test_names_alone_are_matched_if_they_are_unique(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder({"gan": 2, "real": 1})
    (folder / "gan" / "001.png").rename(folder / "gan" / "caf\u00e9.png")
    # As Excel on Windows saves "CSV": in the code page of the system.
    text = "file;group\n000.png;a\ncaf\u00e9.png;b\nreal/caf\u00e9.png;c\nnone.png;d\n"
    (tmp_path / "g.csv").write_bytes(text.encode("cp1252"))
    with pytest.warns(WhichgenWarning, match=r"1 group; rows for 1 of 3 images; 3 rows") as caught:
        assert read_groups(tmp_path / "g.csv", folder=folder) == {"gan/caf\u00e9.png": "b"}
    # There are two images 000.png, and café.png is not in the folder real.
    assert "without an image: line 2 (000.png | a), line 4" in str(caught[0].message)


def test_table_of_other_images_is_an_error(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "g.csv").write_text("path,group\nother/x.png,a\n")
    with pytest.raises(DataError, match=r"no row .* first row is 'path | group'.*as gan/000\.png"):
        read_groups(tmp_path / "g.csv", folder=image_folder({"gan": 2}))


@pytest.mark.parametrize("read", [read_groups, read_sources])
def test_column_is_never_chosen_by_position(tmp_path: Path, read: Callable[..., object]) -> None:
    (tmp_path / "g.csv").write_text("path,seed,prompt\na.png,1,x\n")
    with pytest.raises(DataError, match=r"no column .*: seed, prompt|one of seed, prompt"):
        read(tmp_path / "g.csv")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.tsv", "path\tsource\tgroup\na.png\tsite\tx\nb.png\t\ty\n"),
        ("s.csv", "file,site\na.png,site\nb.png,\n"),
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
