"""Run the command line in this process; share one training run between tests."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from whichgen.cli.app import expand_blocks
from whichgen.cli.console import get_console
from whichgen.cli.parser import build_app


@dataclass(frozen=True)
class Result:
    """Exit status and output of a command."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """Messages on standard error in one line, without progress bars."""
        lines = (line.strip() for line in self.err.splitlines())
        return " ".join(line for line in lines if line and "0:00:0" not in line)


def whichgen(*arguments: object, wide: bool = True, stdin: bytes = b"") -> Result:
    """Run ``whichgen ARGUMENTS``; a traceback fails the test."""
    get_console.cache_clear()  # cached consoles keep the old width
    words = expand_blocks([str(a) for a in arguments])
    runner = CliRunner(env={"COLUMNS": "200"} if wide else {})
    result = runner.invoke(build_app(words), words, input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        pytest.fail("".join(traceback.format_exception(result.exception)))
    return Result(result.exit_code, result.stdout, result.stderr)


@pytest.fixture(scope="session", autouse=True)
def _fits_in_this_process() -> Iterator[None]:
    """Fit in this process, because worker processes start slowly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOKY_MAX_CPU_COUNT", "1")
        yield


@dataclass(frozen=True)
class Site:
    """A working directory: images of five origins, an encoder, a cache, and a run of ``linear``."""

    folder: Path
    images: Path
    clip: Path
    cache: Path
    run: Path

    def options(self, *, data: object = None, out: str = "out") -> list[object]:
        """Training options, spelled as in the reference implementation."""
        where = ["-c", "base", "-d", data or self.images, "--device", "cpu"]
        return [*where, "-o", self.folder / out, "--backbone", self.clip, "--cache-dir", self.cache]


ORIGINS = ("real", "gan", "vae", "ddpm", "flow")
UNKNOWN = ("--unknown", "ddpm,flow")
GRID = ("--c-min", "-1", "--c-max", "1", "--c-values", "2")


@pytest.fixture(scope="session")
def shared_site(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_clip: Path,
    noise: Callable[..., Image.Image],
) -> Site:
    """Create the folder that :func:`site` copies."""
    folder = tmp_path_factory.mktemp("site")
    for tint, origin in enumerate(ORIGINS):
        (folder / "images" / origin).mkdir(parents=True)
        for i in range(10):
            noise(1000 * tint + i, tint=tint).save(folder / "images" / origin / f"{i:03d}.png")
    site = Site(
        folder, folder / "images", tiny_clip, folder / "cache", folder / "out/tiny_clip/images"
    )
    result = whichgen("linear", *site.options(), *UNKNOWN, "-b", 0, 1, 2, *GRID)
    assert result.code == 0, result.err
    (folder / "output.txt").write_text(result.out + result.err)
    return site


@pytest.fixture
def site(shared_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A copy to change; the images' own times and folder are part of a split's identity."""
    folder = tmp_path / "site"
    shutil.copytree(shared_site.folder, folder)
    monkeypatch.chdir(folder)
    # The first run has them; they are most of the time of a small fit.
    monkeypatch.setattr("whichgen.report.run_folder.plot_run", lambda _: [])
    return Site(
        folder,
        folder / "images",
        shared_site.clip,
        folder / "cache",
        folder / "out/tiny_clip/images",
    )
