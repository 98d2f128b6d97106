"""Compare the files of two runs, and find temporary files that remain."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from contextlib import closing
from pathlib import Path

from safetensors import safe_open

from whichgen.io.atomic_writes import is_temporary

#: A time, the only content of files that may differ between two runs of a command.
_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


def compute_state(folder: Path) -> dict[str, str]:
    """Return the digest of each file, of each row of features and of the facts about each image.

    The rows of the feature store are compared instead of its files, because segments have random
    names and their sizes depend on when a run was killed. Facts about images are compared by image.

    Raises
    ------
    AssertionError
        There is a damaged segment, or two rows of features with the same key differ.
    """
    digests: dict[str, str] = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(file.relative_to(folder))
        if file.suffix == ".damaged":
            raise AssertionError(f"{file} is a damaged segment")
        if is_temporary(file) or file.suffix == ".sqlite-journal":
            continue
        if file.suffix == ".sqlite":
            digests |= _hash_facts(file)
            continue
        if file.suffix == ".safetensors" and "features" in file.parts:
            for row, digest in _hash_rows(file):
                if digests.setdefault(f"{file.parent.name} {row}", digest) != digest:
                    raise AssertionError(f"{file}: another segment has different features of {row}")
        else:
            digests[name] = _hash(_TIME.sub(b"TIME", file.read_bytes()))
    return digests


def find_leftovers(folder: Path) -> list[Path]:
    """Return the temporary files of killed processes."""
    return [path for path in folder.rglob(".*.tmp") if is_temporary(path)]


def list_differences(actual: dict[str, str], expected: dict[str, str]) -> list[str]:
    """Return messages about names that are missing, unexpected or different."""
    return (
        [f"missing: {name}" for name in sorted(expected.keys() - actual.keys())]
        + [f"unexpected: {name}" for name in sorted(actual.keys() - expected.keys())]
        + [
            f"different: {n}"
            for n in sorted(actual.keys() & expected.keys())
            if actual[n] != expected[n]
        ]
    )


def _hash_rows(segment: Path) -> list[tuple[str, str]]:
    """Return the name (key and block) and the digest of each row of features in a segment."""
    with safe_open(segment, framework="np") as file:
        blocks = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    keys = blocks.pop("keys")
    return [
        (f"{keys[row].tobytes().hex()} {name}", _hash(block[row].tobytes()))
        for name, block in blocks.items()
        for row in range(len(keys))
    ]


def _hash_facts(file: Path) -> dict[str, str]:
    """Return the digest of the facts about each image."""
    with closing(sqlite3.connect(file)) as database:
        rows = database.execute("SELECT digest, facts, thumbnail FROM images").fetchall()
    return {f"facts {key.hex()}": _hash(facts + thumbnail) for key, facts, thumbnail in rows}


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
