"""The files of a run: what must be equal after a death, and what must not exist."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from contextlib import closing
from pathlib import Path

from safetensors import safe_open

#: Times, the only part that may differ between two runs of a command.
_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")


def compute_state(folder: Path) -> dict[str, str]:
    """Compute digests of all files by name, and of all features by encoder, image and block.

    Segments of the feature store have random names and end where a run was stopped, so rows are
    compared instead of files, and so are the rows of the facts about images. Duplicate rows must be
    identical.
    """
    digests: dict[str, str] = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(file.relative_to(folder))
        if file.suffix == ".damaged":
            raise AssertionError(f"{file} was set aside as damaged")
        if _TEMPORARY.fullmatch(file.name) or file.suffix == ".sqlite-journal":
            continue
        if file.suffix == ".sqlite":
            digests |= _facts(file)
            continue
        if file.suffix == ".safetensors" and "features" in file.parts:
            for row, digest in _rows(file):
                if digests.setdefault(f"{file.parent.name} {row}", digest) != digest:
                    raise AssertionError(f"{file}: another {row} than before")
        else:
            digests[name] = _digest(_TIME.sub(b"TIME", file.read_bytes()))
    return digests


def find_leftovers(folder: Path) -> list[Path]:
    """List temporary files of processes that died."""
    return [p for p in folder.rglob(".*.tmp") if _TEMPORARY.fullmatch(p.name)]


def list_differences(actual: dict[str, str], expected: dict[str, str]) -> list[str]:
    """List names that are missing, unexpected or different."""
    return (
        [f"missing: {name}" for name in sorted(expected.keys() - actual.keys())]
        + [f"unexpected: {name}" for name in sorted(actual.keys() - expected.keys())]
        + [
            f"different: {n}"
            for n in sorted(actual.keys() & expected.keys())
            if actual[n] != expected[n]
        ]
    )


def _rows(segment: Path) -> list[tuple[str, str]]:
    with safe_open(segment, framework="np") as file:
        blocks = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    keys = blocks.pop("keys")
    return [
        (f"{keys[row].tobytes().hex()} {name}", _digest(block[row].tobytes()))
        for name, block in blocks.items()
        for row in range(len(keys))
    ]


def _facts(file: Path) -> dict[str, str]:
    with closing(sqlite3.connect(file)) as database:
        rows = database.execute("SELECT digest, facts, thumbnail FROM images").fetchall()
    return {f"facts {key.hex()}": _digest(facts + thumbnail) for key, facts, thumbnail in rows}


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
