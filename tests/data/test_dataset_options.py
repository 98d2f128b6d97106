"""Dataset options: stored as JSON and opened again from any directory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from whichgen.data.benchmarks.benchmark_files import write_benchmark
from whichgen.data.dataset import SPLITS
from whichgen.data.dataset_options import DatasetOptions, resolve_spec
from whichgen.errors import DataError

Make = Callable[..., Path]


@pytest.fixture
def source(image_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetOptions:
    """A folder of four origins, named relative to the working directory."""
    folder = image_folder({"real": 12, "gan": 12, "vae": 12, "flow": 12}, name="mine")
    paths = [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*.png"))]
    (tmp_path / "groups.tsv").write_text(
        "path\tpair\n" + "".join(f"{p}\t{p[:-5]}{int(p[-5]) // 2}\n" for p in paths)
    )
    monkeypatch.chdir(tmp_path)
    return DatasetOptions(
        "mine", unknown=("vae", "flow"), unknown_val=("flow",), groups="groups.tsv", seed=3
    )


def test_config_opens_the_same_dataset_from_another_directory(
    source: DatasetOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = source.open(tmp_path / "cache")
    config = json.loads(json.dumps({**source.as_config(), "other": 1}))
    monkeypatch.chdir("/")
    again = DatasetOptions.from_config(config)
    assert again == replace(
        source, data=str(tmp_path / "mine"), groups=str(tmp_path / "groups.tsv")
    )
    second = again.open(tmp_path / "other cache")
    for part in SPLITS:
        assert second.split(part) == first.split(part)


def test_missing_config_keys_have_defaults() -> None:
    assert DatasetOptions.from_config({"data": "x"}) == DatasetOptions("x")


@pytest.mark.parametrize(
    ("data", "absolute"),
    [
        ("OSMA:split=split2", "OSMA:split=split2:root={here}/dataset"),
        ("OSMA:root=deep/er:split=split2", "OSMA:split=split2:root={here}/deep/er"),
        ("GenImage:root=/data", "GenImage:root=/data"),
        ("mine", "{here}/mine"),
    ],
)
def test_resolve_spec_makes_paths_absolute(
    source: DatasetOptions, data: str, absolute: str
) -> None:
    assert resolve_spec(data) == absolute.format(here=Path.cwd())
    assert resolve_spec(resolve_spec(data)) == resolve_spec(data)


def test_every_split_option_has_an_effect(source: DatasetOptions, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = source.open(cache)
    assert {s.origin for s in first.val_unknown} == {"flow"}
    assert {s.origin for s in first.test_unknown} == {"vae"}
    shared = replace(source, unknown_val=(), share_unknown=True).open(cache)
    assert {s.origin for s in shared.val_unknown} == {"vae", "flow"}
    assert source.open(cache).train == first.train
    assert replace(source, seed=4).open(cache).train != first.train
    assert len(replace(source, fractions=(0.2, 0.4, 0.4)).open(cache).train) < len(first.train)
    few = replace(source, samples_per_class=2).open(cache)
    assert [len(few.split(part)) for part in SPLITS] == [4, 4, 2, 4, 2]
    for part in SPLITS:
        numbers = {(s.origin, int(s.path.stem)) for s in first.split(part)}
        assert {(origin, n ^ 1) for origin, n in numbers} == numbers  # pairs stay together
    with pytest.raises(DataError, match="no column 'prompt'"):
        replace(source, group_column="prompt").open(cache)


def test_written_benchmark_opens_from_another_directory(
    source: DatasetOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_benchmark(source.open(tmp_path / "cache"), Path("dataset"), "mine")
    options = DatasetOptions("mine:split=split1:root=dataset")
    first = options.open(tmp_path / "cache")
    config = options.as_config()
    monkeypatch.chdir("/")
    assert DatasetOptions.from_config(config).open(tmp_path / "cache").train == first.train


@pytest.mark.parametrize(
    "config",
    [
        *({}, {"data": 1}, {"data": "x", "fractions": "x"}, {"data": "x", "unknown": [1]}),
        *({"data": "x", "fractions": [0.5, 0.5]}, {"data": "x", "samples_per_class": "many"}),
    ],
)
def test_config_of_wrong_type_is_an_error(config: dict[str, object]) -> None:
    with pytest.raises(
        DataError, match=r"options are invalid \(.*\)\. Specify the dataset with `data`"
    ):
        DatasetOptions.from_config(config)
