"""Lock files: one per extra, consistent with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "tools" / "locks"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = {"base": [], **PROJECT["optional-dependencies"]}

#: Packages that lock files of extras omit, because the build depends on the machine.
OMITTED_PACKAGES = {"torch", "torchvision"}

PYTHONS = ("3.11.7", "3.12.1", "3.13.0")


def required(extra: str) -> Iterator[Requirement]:
    """Return the requirements of the package and of an extra, including its nested extras."""
    for text in [*PROJECT["dependencies"], *EXTRAS[extra]]:
        requirement = Requirement(text)
        if requirement.name == PROJECT["name"]:
            for included in requirement.extras:
                yield from required(included)
        else:
            yield requirement


def locked(name: str, python: str) -> dict[str, Version]:
    """Return the locked versions for a Python version on Linux, by canonical name.

    Fails if one is without a hash, is no exact version, or is there twice.
    """
    found: dict[str, Version] = {}
    text = (LOCKS / f"{name}.txt").read_text("utf-8").replace("\\\n", " ")
    for line in (line.strip() for line in text.splitlines()):
        if not line or line.startswith("#"):
            continue
        requirement, *hashes = (part.strip() for part in line.split(" --hash="))
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", h) for h in hashes), line
        pin = Requirement(requirement)
        environment = default_environment() | {
            "python_version": python.rpartition(".")[0],
            "python_full_version": python,
        }
        if pin.marker and not pin.marker.evaluate(dict(environment)):
            continue
        (specifier,) = pin.specifier
        assert specifier.operator == "==" and canonicalize_name(pin.name) not in found, line
        found[canonicalize_name(pin.name)] = Version(specifier.version)
    return found


def test_every_extra_has_a_lock_and_every_lock_an_extra() -> None:
    assert {file.stem for file in LOCKS.glob("*.txt")} == {*EXTRAS, "torch"}, "run `make locks`"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_gives_what_is_asked_for(extra: str, python: str) -> None:
    versions = locked(extra, python) | locked("torch", python)
    for requirement in required(extra):
        name = canonicalize_name(requirement.name)
        if name == "torchvision":
            continue
        assert name in versions, f"{requirement}: run `make locks`"
        assert requirement.specifier.contains(versions[name]), f"{requirement}: {versions[name]}"


@pytest.mark.parametrize("extra", EXTRAS)
def test_no_lock_brings_cuda(extra: str) -> None:
    names = set(locked(extra, PYTHONS[0]))
    assert not names & OMITTED_PACKAGES
    assert not [n for n in names if n.startswith(("nvidia", "cuda", "triton"))]


def test_torch_is_the_version_that_make_installs() -> None:
    (pinned,) = re.findall(r"^TORCH \?= torch==(\S+)$", (ROOT / "Makefile").read_text(), re.M)
    assert locked("torch", PYTHONS[0]) == {"torch": Version(pinned)}
