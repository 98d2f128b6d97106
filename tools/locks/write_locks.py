"""Write a lock file for each extra in pyproject.toml: ``make locks``.

The lock files of the extras do not contain torch and torchvision, because the build to install (CPU
or a CUDA version) depends on the machine, and the default build for Linux includes gigabytes of
CUDA libraries. ``torch.txt`` pins the version of torch, with the hashes of the CPU builds only.
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

#: Name of the lock file of the package without extras.
BASE = "base"

#: Packages that the lock files of extras omit.
OMITTED_PACKAGES = ("torch", "torchvision")

#: Constraints that exclude releases without a build for Linux.
EXCLUDED_RELEASES = ("c2pa-python!=0.38.2",)

#: Size in bytes that separates the builds of torch: CPU builds have less than 200 MB, and builds
#: with CUDA have more than 400 MB.
MAX_CPU_BUILD_BYTES = 300_000_000

UV = ("uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--no-header")


def lock(extra: str, torch: str) -> None:
    """Write ``tools/locks/EXTRA.txt``: the version and the hashes of each requirement.

    The versions in an existing file do not change. Delete the file to lock the newest versions.
    """
    options = ["--generate-hashes", "--config-file", "tools/locks/uv.toml", "--constraints", "-"]
    options += [f"--no-emit-package={name}" for name in OMITTED_PACKAGES]
    if extra != BASE:
        options += ["--extra", extra]
    options += ["--output-file", str(LOCKS / f"{extra}.txt")]
    run_uv(["pyproject.toml", *options], "\n".join((torch, *EXCLUDED_RELEASES)))


def lock_torch(torch: str) -> None:
    """Write ``tools/locks/torch.txt`` with the hashes of the CPU builds of torch.

    ``torch`` is the requirement (``torch==VERSION``). The builds are those of the registry, those
    in an existing file for the same version, and those in the folders in PIP_FIND_LINKS.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "pylock.torch.toml"
        run_uv(["-", "--no-deps", "--format", "pylock.toml", "--output-file", str(file)], torch)
        (package,) = tomllib.loads(file.read_text("utf-8"))["packages"]
    hashes = {w["hashes"]["sha256"] for w in package["wheels"] if is_cpu_build(w)}
    pin, version = f"{torch} \\", torch.partition("==")[2]
    lock_file = LOCKS / "torch.txt"
    if lock_file.is_file() and pin in (text := lock_file.read_text("utf-8")):
        hashes |= set(re.findall(r"sha256:(\w+)", text))
    for folder in os.environ.get("PIP_FIND_LINKS", "").split():
        for wheel in Path(folder).glob(f"torch-{version}+cpu-*.whl"):
            hashes.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    lines = (f"    --hash=sha256:{digest}" for digest in sorted(hashes))
    lock_file.write_text(pin + "\n" + " \\\n".join(lines) + "\n", encoding="utf-8")


def is_cpu_build(wheel: dict[str, Any]) -> bool:
    """Return whether a wheel in a PEP 751 lock is a CPU build for a supported Python version."""
    file = wheel["url"].rpartition("/")[2]
    return wheel["size"] < MAX_CPU_BUILD_BYTES and file.split("-")[2] in ("cp311", "cp312", "cp313")


def run_uv(arguments: list[str], requirements: str) -> None:
    """Run ``uv pip compile`` with ``requirements`` as its standard input."""
    subprocess.run([*UV, *arguments], input=requirements, text=True, check=True, cwd=ROOT)


def main() -> None:
    """Write all lock files: ``write_locks.py torch==VERSION``."""
    (torch,) = sys.argv[1:]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lock_torch(torch)
    for extra in (BASE, *project["optional-dependencies"]):
        lock(extra, torch)


if __name__ == "__main__":
    main()
