"""Untrusted datasets cannot leave their folder or block the reader."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from whichgen.cli.parser import build_app
from whichgen.data.benchmarks.benchmark_files import load_benchmark, write_benchmark
from whichgen.data.dataset import SPLITS, Dataset, Sample, list_images
from whichgen.data.images.image_reader import ImageReader
from whichgen.data.layouts.folder_layout import read_layout
from whichgen.data.tables.annotations import read_annotations
from whichgen.data.tables.groups_and_sources import read_groups
from whichgen.errors import DataError, ImageError, WhichgenWarning
from whichgen.features.extraction import extract
from whichgen.features.store import FeatureStore
from whichgen.io.folder_listing import make_natural_key

ImageFolder = Callable[..., Path]

OUTSIDE = ("../x", "/x", "..", ".", "", "a/b", "a\\b", "a\0b", "x" * 300, "../../../../etc")


@pytest.fixture
def dataset_root(tmp_path: Path) -> Path:
    """The root of a data set ``mine`` as ``dataset split`` writes it."""
    known, unknown = ("real", "gan"), ("a",)
    parts = {
        part: tuple(
            Sample(Path(f"/{part}/{o}.png"), o)
            for o in (unknown if part.endswith("unknown") else known)
        )
        for part in SPLITS
    }
    write_benchmark(Dataset("mine", known, unknown, **parts), tmp_path / "root", "mine")
    return tmp_path / "root"


def change(root: Path, **values: Any) -> None:
    """Overwrites fields of the origin list."""
    file = root / "mine" / "origins.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize("field", ["name", "folder"])
@pytest.mark.parametrize("value", OUTSIDE)
def test_list_of_origins_cannot_leave_its_root(dataset_root: Path, field: str, value: str) -> None:
    # Results are written into a folder of the data set's name.
    change(dataset_root, **{field: value})
    with pytest.raises(
        DataError, match=rf"not a valid list of origins: {field}: .*not a valid folder name"
    ):
        load_benchmark(f"mine:root={dataset_root}")


@pytest.mark.parametrize("value", OUTSIDE)
def test_split_name_cannot_leave_the_root(dataset_root: Path, value: str) -> None:
    splits = json.loads((dataset_root / "mine" / "origins.json").read_text())["splits"]
    change(dataset_root, splits={value: splits["split1"]})
    with pytest.raises(DataError, match="is not a valid folder name"):
        load_benchmark(f"mine:root={dataset_root}")


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff\xfe\0", b"[" * 100_000, b'{"name": ' * 5000, b"null", b"{}"),
        b'{"name": "a", "folder": "a", "splits": {}}',
        b'{"name": "a", "folder": "\\ud800", "splits": {}}',
        b'{"name": "a", "folder": "a", "splits": {"s": {"known": [1e999], "unknown": {}}}}',
    ],
    ids=lambda content: repr(content[:20]),
)
def test_invalid_list_of_origins_is_a_one_line_error(dataset_root: Path, content: bytes) -> None:
    (dataset_root / "mine" / "origins.json").write_bytes(content)
    with pytest.raises(DataError, match=r"is not (a valid list of origins|UTF-8 text)") as caught:
        load_benchmark(f"mine:root={dataset_root}")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", OUTSIDE)
def test_invalid_name_writes_nothing(dataset_root: Path, tmp_path: Path, name: str) -> None:
    dataset = load_benchmark(f"mine:root={dataset_root}")
    with pytest.raises(DataError, match="invalid name of a dataset or split"):
        write_benchmark(dataset, tmp_path / "new", name)
    with pytest.raises(DataError, match="invalid name of a dataset or split"):
        write_benchmark(dataset, tmp_path / "new", "mine", name)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "file", ["origins.json", "groups.tsv", "split1_val/annotations/split1_val.txt"]
)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "huge"])
def test_pipe_or_folder_instead_of_file_is_an_immediate_error(
    dataset_root: Path, file: str, kind: str
) -> None:
    place = dataset_root / "mine" / file
    place.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        place.symlink_to("/dev/zero")
    elif kind == "folder":
        place.mkdir()
    else:
        with place.open("wb") as holes:
            holes.truncate(2**41)
    if file == "groups.tsv" and kind != "huge":
        load_benchmark(f"mine:root={dataset_root}")  # there are none, then
        with pytest.raises(DataError, match="can't be read"):
            read_groups(place)
        return
    with pytest.raises(DataError, match="can't be read"):
        load_benchmark(f"mine:root={dataset_root}")


def test_annotated_devices_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.txt").write_text(
        f"/dev/zero\treal\n{tmp_path}/pipe\treal\n/dev/stdin\treal\n../../../etc/passwd\treal\n"
    )
    for sample in read_annotations(tmp_path / "a.txt", ("real",), bases=[tmp_path]):
        (error,) = ImageReader().read([sample])
        assert isinstance(error, ImageError)
        assert re.search(r"can't be read|not? (an )?image|no such file", str(error))


@pytest.mark.parametrize(
    "line",
    ["a\0b.png\treal", "x" * 5000 + "\treal", "a.png\t" + "9" * 5000, "a.png\t" + "x" * 10**6],
    ids=["nul", "long-path", "long-number", "long-label"],
)
def test_arbitrary_line_is_read_or_a_short_error(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.txt").write_text(line + "\n")
    try:
        (sample,) = read_annotations(tmp_path / "a.txt", ("real",), bases=[tmp_path, Path()])
    except DataError as error:
        assert "line 1: invalid label" in str(error) and len(str(error)) < 1000
    else:
        (error,) = ImageReader().read([sample])
        assert isinstance(error, ImageError) and "can't be read" in str(error)


def test_groups_line_without_path_is_reported(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("group,path\nx\n\ny,b.png\n")
    with pytest.warns(WhichgenWarning, match=r"1 row without an image: line 2 \(x\)"):
        assert read_groups(tmp_path / "g.csv") == {"b.png": "y"}


def test_unicode_digits_are_sorted(image_folder: ImageFolder) -> None:
    folder = image_folder({"real": 2})
    (folder / "real" / "²").mkdir()
    for name in ("1²3.png", "²/①.png", "１２.png"):
        (folder / "real" / name).write_bytes((folder / "real" / "000.png").read_bytes())
    assert len(list_images(folder)) == 5
    assert make_natural_key("a１２") == ["a", 12, ""]


def test_link_loops_are_walked_once(image_folder: ImageFolder) -> None:
    folder = image_folder({"real": 2, "gan": 2})
    (folder / "real" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "gan" / "self").symlink_to(".", target_is_directory=True)
    (folder / "broken").symlink_to("nowhere")
    os.mkfifo(folder / "real" / "pipe.png")
    result = read_layout(folder).origins
    assert {origin: len(paths) for origin, paths in result.items()} == {"real": 2, "gan": 2}


def test_names_cannot_control_the_terminal(tmp_path: Path) -> None:
    name = "\x1b]0;owned\x07\x1b[2J\u202egnp.png"
    (tmp_path / name).write_bytes(b"no image")
    for command in (["evidence", str(tmp_path / name)], ["evidence", str(tmp_path)]):
        result = CliRunner().invoke(build_app(), command)
        assert result.exit_code == 1
        assert (
            "not an image" in result.output
            and "\\x1b]0;owned\\x07\\x1b[2J\\u202egnp" in result.output
        )
        assert not set(result.output) & set("\x1b\x07\u202e")


def test_changed_file_has_the_features_of_its_content(
    image_folder: ImageFolder, tmp_path: Path, counting: Callable[..., Any]
) -> None:
    folder = image_folder({"real": 3})
    paths = list_images(folder)
    samples = [Sample(path, "real") for path in paths]
    encoder = counting().encoder
    store = FeatureStore(tmp_path / "store", encoder)

    def swap_files(items: Any, *, description: str = "", **_: Any) -> Any:
        if description == "Extracting":
            paths[1].write_bytes(paths[0].read_bytes())
            paths[2].unlink()
        return items

    reader = ImageReader()
    list(reader.read(samples))  # the digests of the former content are known
    result = extract(samples, encoder, store, reader=reader, progress=swap_files)
    assert [s.path for s in result.samples] == paths[:2]
    assert result.digests[0] == result.digests[1]
    assert "no such file" in result.skipped[0]
    # What the store holds is of the content by which it is found.
    assert np.array_equal(result.read_block(0)[0], result.read_block(0)[1])


@pytest.mark.parametrize("name", ["[/x]", "[bold]", "a\x1b[2J", "\u202egnp", "\\", "[link=x]"])
def test_origin_names_are_shown_literally(image_folder: ImageFolder, name: str) -> None:
    folder = image_folder({"real": 2, name: 2}, name=f"of {name}")
    result = CliRunner().invoke(build_app(), ["dataset", "check", str(folder)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    text = name.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
    assert text in result.output
    assert not set(result.output) & set("\x1b\u202e")
