"""Fuzz the readers of dataset strings and of the files of a benchmark."""

from __future__ import annotations

import copy
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from tools.fuzz.case_limits import enforce_limits, require
from tools.fuzz.choices import Choices, mutate
from tools.fuzz.temporary_folders import clear_folder, make_folder
from whichgen.data.benchmarks.benchmark_files import load_benchmark, parse_spec, write_benchmark
from whichgen.data.dataset import SPLITS, Dataset, Sample
from whichgen.data.dataset_options import DatasetOptions
from whichgen.errors import DataError, WhichgenError

_FOLDER = make_folder("datasets")
_ROOT, _CACHE = _FOLDER / "root", _FOLDER / "cache"
_NAMES = ("mine", "GenImage", "OSMA", "../root/mine", "mine/", ".", "..", "", "\x00", "x" * 300)
_FIELDS = ("name", "folder", "source", "splits", "known", "unknown", "all", "split1", "extra")


def seeds() -> list[bytes]:
    """Return decisions for a valid dataset and for changes to its files, and dataset strings."""
    cases = [b"\0" * 16, b"\1" * 16, bytes(range(64)), bytes(range(255, 0, -1))]
    cases += [bytes([kind, *([n] * 12)]) for kind in range(6) for n in (0, 1, 5, 33)]
    return [*cases, b"\5mine:split=split1", b"\5GenImage:root=/x", b"\5a:b=c:split=\xff"]


@cache
def _write_dataset() -> dict[Path, bytes]:
    """Write the dataset ``mine`` once; return the content of each of its files."""
    known, unknown = ("real", "gan"), ("a", "b")
    parts: dict[str, Any] = {
        part: tuple(
            Sample(Path(f"/{part}/{o}.png"), o, o)
            for o in (unknown if part.endswith("unknown") else known)
        )
        for part in SPLITS
    }
    clear_folder(_ROOT)
    write_benchmark(Dataset("mine", known, unknown, **parts), _ROOT, "mine")
    return {file: file.read_bytes() for file in sorted(_ROOT.rglob("*")) if file.is_file()}


def check(data: bytes) -> None:
    """Check that a valid dataset in the root folder is read, or :class:`DataError` is raised."""
    choices = Choices(data)
    kind = choices.draw_below(6)
    if kind == 5:
        _check_dataset_string(choices.take_rest().decode("utf-8", errors="surrogateescape"))
        return
    files = _write_dataset()
    name = choices.choose(_NAMES) if kind == 0 else "mine"
    file = _ROOT / "mine" / "origins.json" if kind < 2 else choices.choose(list(files))
    if kind < 2:
        file.write_bytes(_mutate_json(json.loads(files[file]), choices))
    elif kind == 2:
        file.write_bytes(mutate(choices, files[file]))
    elif kind == 3:
        file.unlink()
    else:
        file.write_bytes(choices.take_rest())
    try:
        with enforce_limits(_ROOT):
            _check_benchmark(f"{name}:root={_ROOT}")
    finally:
        file.write_bytes(files[file])


def _check_benchmark(spec: str) -> None:
    """Read the benchmark of a dataset string, and check its origins and its run folder."""
    try:
        dataset = load_benchmark(spec)
    except WhichgenError as error:
        require(isinstance(error, DataError), f"a {type(error).__name__}")
        require(len(str(error)) < 20_000, "an error of more than 20,000 characters")
        return
    origins = {*dataset.known, *dataset.unknown}
    require(all(s.origin in origins for p in SPLITS for s in dataset.split(p)), "a foreign origin")
    run = Path("output") / dataset.name.replace(":split=", "_").replace(":", "_")
    is_inside = ".." not in run.parts and run.parent == Path("output")
    require(is_inside, f"results would be written to {run}")


def _mutate_json(value: Any, choices: Choices) -> bytes:
    """Return a JSON value with changes at some places, or with many levels, as JSON text."""
    for _ in range(choices.draw_below(5)):
        place = value
        while True:
            key = choices.choose(
                [*place, *_FIELDS] if isinstance(place, dict) else range(len(place))
            )
            inner = place.get(key) if isinstance(place, dict) else place[key]
            if not isinstance(inner, dict | list) or not inner or choices.draw_below(3) == 0:
                break
            place = inner
        kind = choices.draw_below(8)
        if kind == 0 and isinstance(place, dict):
            place.pop(key, None)
        elif kind == 1 and isinstance(place, dict):
            place[choices.draw_text()] = place.pop(key, None)
        elif kind == 2:
            place[key] = ["real", "gan", choices.draw_text()]
        else:
            place[key] = copy.deepcopy(choices.draw_value())
    text = json.dumps(value, ensure_ascii=bool(choices.draw_below(2)))
    if choices.draw_below(8) == 1:
        depth = 50 * choices.draw_below(256)
        text = text.replace('"source"', '"source": ' + "[" * depth + "]" * depth + ', "source"', 1)
    return text.encode("utf-8", errors="surrogatepass")


def _check_dataset_string(spec: str) -> None:
    """Parse a dataset string, and open the dataset; check that the options are valid."""
    with enforce_limits(_FOLDER, Path.cwd()):
        try:
            name, options = parse_spec(spec)
            require(name == spec.partition(":")[0], "a different name")
            require(set(options) <= {"split", "root"}, "an unknown option")
            is_folder = os.path.isdir(Path(spec))  # noqa: PTH112 (Path's raises if it is too long)
            if not is_folder and "root" not in options:
                DatasetOptions(spec).open(_CACHE)
        except DataError as error:
            require(len(str(error)) < 20_000, "an error of more than 20,000 characters")
