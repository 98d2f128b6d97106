"""The wheel and the sdist install and work without the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return environment variables that let Python import hatchling, the build backend."""
    folder = tmp_path_factory.mktemp("hatchling")
    command = [*PIP, "install", "--target", str(folder), "hatchling"]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("hatchling cannot be installed: no network")
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory, builder: dict[str, str]) -> Path:
    """Build the wheel and the sdist; return their folder."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, env=builder, check=True, capture_output=True)
    return folder


def test_sdist_contains_source_and_license_but_no_images(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "src/whichgen/__init__.py"} <= names
    assert not [name for name in names if name.startswith("demo/images")]
    assert sdist.stat().st_size < 10_000_000  # half of the size is the built-in model


@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
def test_package_installs_and_works_without_the_repository(
    dist: Path, builder: dict[str, str], tmp_path: Path, pattern: str
) -> None:
    (package,) = dist.glob(pattern)
    site = tmp_path / "site"
    command = [*PIP, "install", "--no-deps", "--no-index", "--no-build-isolation"]
    command += ["--target", str(site), str(package)]
    subprocess.run(command, cwd=tmp_path, env=builder, check=True)
    code = "import whichgen; print(whichgen.__file__); from whichgen.cli.app import main; main()"
    output = subprocess.run(
        [sys.executable, "-c", code, "--version"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert str(site) in output.splitlines()[0]
    assert (site / "whichgen" / "service").is_dir()
