"""Writes a lock file for every extra of pyproject.toml: `make locks`.

torch and torchvision are in none of them. Which build a machine wants, CPU or one of several CUDA
ones, is no matter of versions, and on Linux the registry's own build brings gigabytes of CUDA:
`torch.txt` pins the version, with the hashes of CPU builds only.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "tools" / "locks"

#: The lock of the package alone.
BASE = "base"

#: What is left to `torch.txt`, for the builds must fit each other.
CHOSEN_APART = ("torch", "torchvision")

#: Releases that lack a build for Linux.
UNFIT = ("c2pa-python!=0.38.2",)

#: A build of torch with CUDA is over 400 MB, one without under 200.
MOST_OF_A_CPU_BUILD = 300_000_000

UV = ("uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--no-header")


def lock(extra: str, torch: str) -> None:
    """Write `tools/locks/EXTRA.txt`: each requirement with its version and hashes.

    What is in the file already stays at its version; delete the file for the newest ones.
    """
    options = ["--generate-hashes", "--config-file", "tools/locks/uv.toml", "--constraints", "-"]
    options += [f"--no-emit-package={name}" for name in CHOSEN_APART]
    if extra != BASE:
        options += ["--extra", extra]
    options += ["--output-file", str(LOCKS / f"{extra}.txt")]
    compiled(["pyproject.toml", *options], "\n".join((torch, *UNFIT)))


def lock_torch(torch: str) -> None:
    """Write `tools/locks/torch.txt`: the hashes of CPU builds (also from PIP_FIND_LINKS)."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "pylock.torch.toml"
        compiled(["-", "--no-deps", "--format", "pylock.toml", "--output-file", str(file)], torch)
        (package,) = tomllib.loads(file.read_text("utf-8"))["packages"]
    hashes = {w["hashes"]["sha256"] for w in package["wheels"] if is_cpu_build(w)}
    pin, version = f"{torch} \\", torch.partition("==")[2]
    kept = LOCKS / "torch.txt"
    if kept.is_file() and pin in (text := kept.read_text("utf-8")):
        hashes |= set(re.findall(r"sha256:(\w+)", text))
    for wheels in os.environ.get("PIP_FIND_LINKS", "").split():
        for wheel in Path(wheels).glob(f"torch-{version}+cpu-*.whl"):
            hashes.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    lines = (f"    --hash=sha256:{digest}" for digest in sorted(hashes))
    kept.write_text(pin + "\n" + " \\\n".join(lines) + "\n", encoding="utf-8")


def is_cpu_build(wheel: dict[str, Any]) -> bool:
    """Whether a wheel of a PEP 751 lock is one without CUDA, for a Python that whichgen runs on."""
    file = wheel["url"].rpartition("/")[2]
    return wheel["size"] < MOST_OF_A_CPU_BUILD and file.split("-")[2] in ("cp311", "cp312", "cp313")


def compiled(arguments: list[str], given: str) -> None:
    """Runs uv with ``given`` as its standard input."""
    subprocess.run([*UV, *arguments], input=given, text=True, check=True, cwd=ROOT)


def main() -> None:
    """`make.py torch==VERSION`."""
    (torch,) = sys.argv[1:]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lock_torch(torch)
    for extra in (BASE, *project["optional-dependencies"]):
        lock(extra, torch)


if __name__ == "__main__":
    main()
