"""Data-set strings and what lies under their root: a data set, or a :class:`DataError`."""

from __future__ import annotations

import copy
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from tools.fuzz.choices import Choices, mutate
from tools.fuzz.scratch import clear_folder, folder
from tools.fuzz.watch import enforce_limits, require
from whichgen.data.benchmarks.benchmark_files import load_benchmark, parse_spec, write_benchmark
from whichgen.data.dataset import SPLITS, Dataset, Sample
from whichgen.data.dataset_options import DatasetOptions
from whichgen.errors import DataError, WhichgenError

_PLACE = folder("datasets")
_ROOT, _CACHE = _PLACE / "root", _PLACE / "cache"
_NAMES = ("mine", "GenImage", "OSMA", "../root/mine", "mine/", ".", "..", "", "\x00", "x" * 300)
_FIELDS = ("name", "folder", "source", "splits", "known", "unknown", "all", "split1", "extra")


def seeds() -> list[bytes]:
    """A data set as it is, one with each of its files changed, and strings alone."""
    cases = [b"\0" * 16, b"\1" * 16, bytes(range(64)), bytes(range(255, 0, -1))]
    cases += [bytes([kind, *([n] * 12)]) for kind in range(6) for n in (0, 1, 5, 33)]
    return [*cases, b"\5mine:split=split1", b"\5GenImage:root=/x", b"\5a:b=c:split=\xff"]


@cache
def _written() -> dict[Path, bytes]:
    """The files of a data set ``mine``, written once, and what is in them."""
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
    """A valid data set whose files all lie under its root, or a :class:`DataError`."""
    choices = Choices(data)
    kind = choices.below(6)
    if kind == 5:
        _string(choices.rest().decode("utf-8", errors="surrogateescape"))
        return
    files = _written()
    name = choices.of(_NAMES) if kind == 0 else "mine"
    file = _ROOT / "mine" / "origins.json" if kind < 2 else choices.of(list(files))
    if kind < 2:
        file.write_bytes(_changed_json(json.loads(files[file]), choices))
    elif kind == 2:
        file.write_bytes(mutate(choices, files[file]))
    elif kind == 3:
        file.unlink()
    else:
        file.write_bytes(choices.rest())
    try:
        with enforce_limits(_ROOT):
            _opened(f"{name}:root={_ROOT}")
    finally:
        file.write_bytes(files[file])


def _opened(spec: str) -> None:
    try:
        dataset = load_benchmark(spec)
    except WhichgenError as error:
        require(isinstance(error, DataError), f"a {type(error).__name__}")
        require(len(str(error)) < 20_000, "an error of more than 20,000 characters")
        return
    origins = {*dataset.known, *dataset.unknown}
    require(all(s.origin in origins for p in SPLITS for s in dataset.split(p)), "a foreign origin")
    run = Path("output") / dataset.name.replace(":split=", "_").replace(":", "_")
    require(".." not in run.parts and run.parent == Path("output"), f"results would go to {run}")


def _changed_json(value: Any, choices: Choices) -> bytes:
    """JSON with other values at some places, or with many levels."""
    for _ in range(choices.below(5)):
        place = value
        while True:
            key = choices.of([*place, *_FIELDS] if isinstance(place, dict) else range(len(place)))
            inner = place.get(key) if isinstance(place, dict) else place[key]
            if not isinstance(inner, dict | list) or not inner or choices.below(3) == 0:
                break
            place = inner
        kind = choices.below(8)
        if kind == 0 and isinstance(place, dict):
            place.pop(key, None)
        elif kind == 1 and isinstance(place, dict):
            place[choices.text()] = place.pop(key, None)
        elif kind == 2:
            place[key] = ["real", "gan", choices.text()]
        else:
            place[key] = copy.deepcopy(choices.value())
    text = json.dumps(value, ensure_ascii=bool(choices.below(2)))
    if choices.below(8) == 1:
        depth = 50 * choices.below(256)
        text = text.replace('"source"', '"source": ' + "[" * depth + "]" * depth + ', "source"', 1)
    return text.encode("utf-8", errors="surrogatepass")


def _string(spec: str) -> None:
    """A string from the command line, over data that is there."""
    with enforce_limits(_PLACE, Path.cwd()):
        try:
            name, options = parse_spec(spec)
            require(name == spec.partition(":")[0], "another name")
            require(set(options) <= {"split", "root"}, "an option that there is not")
            is_folder = os.path.isdir(Path(spec))  # noqa: PTH112 (Path's raises if it is too long)
            if not is_folder and "root" not in options:
                DatasetOptions(spec).open(_CACHE)
        except DataError as error:
            require(len(str(error)) < 20_000, "an error of more than 20,000 characters")
