"""What a run left: everything that must be equal after a death, and what must not be there."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from safetensors import safe_open

#: All that may differ between two runs of one command: when they were.
_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")

_LEFT = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")


def state(folder: Path) -> dict[str, str]:
    """Digests of all files by name, and of all features by encoder, image and block.

    Segments of the feature store are named by chance and cut where a run was stopped: their rows
    count, not their files. A row that is there twice must be the same bytes twice.
    """
    found: dict[str, str] = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(file.relative_to(folder))
        if file.suffix == ".damaged":
            raise AssertionError(f"{file} was set aside as damaged")
        if _LEFT.fullmatch(file.name):
            continue
        if file.suffix == ".safetensors" and "features" in file.parts:
            for row, digest in _rows(file):
                if found.setdefault(f"{file.parent.name} {row}", digest) != digest:
                    raise AssertionError(f"{file}: another {row} than before")
        else:
            found[name] = _digest(_TIME.sub(b"TIME", file.read_bytes()))
    return found


def left_over(folder: Path) -> list[Path]:
    """Temporary files of processes that died."""
    return [p for p in folder.rglob(".*.tmp") if _LEFT.fullmatch(p.name)]


def differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """What is missing, what is there beside, what is other than it must be."""
    return (
        [f"missing: {name}" for name in sorted(expected.keys() - found.keys())]
        + [f"beside: {name}" for name in sorted(found.keys() - expected.keys())]
        + [f"other: {n}" for n in sorted(found.keys() & expected.keys()) if found[n] != expected[n]]
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


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
