"""The commands that are killed, and the tiny dataset and random CLIP encoder that they use."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import child

#: Origins of the dataset, and the origin that is enrolled.
ORIGINS = ("real", "gan", "vae", "ddpm", "flow")
NEW_ORIGIN = "new"

IMAGES_PER_ORIGIN = 10


@dataclass(frozen=True)
class Site:
    """Folder of the dataset, the encoder and the results.

    The folder ``work`` is emptied before each round. Its path must not change, because results
    contain the path.
    """

    folder: Path

    @property
    def work(self) -> Path:
        """The folder that commands write to; it contains the cache and the output folder."""
        return self.folder / "work"

    @property
    def run(self) -> Path:
        """The run folder of a fit."""
        return self.work / "out" / "clip" / "images"

    def images(self, origin: str) -> list[Path]:
        """Return the images of an origin."""
        base = self.folder if origin == NEW_ORIGIN else self.folder / "images"
        return sorted((base / origin).iterdir())


def make_site(
    folder: Path, save_encoder: Callable[[Path], object], image: Callable[..., object]
) -> Site:
    """Write the images and the encoder; ``image(seed, tint=…)`` returns a Pillow image."""
    save_encoder(folder / "clip")
    for tint, origin in enumerate((*ORIGINS, NEW_ORIGIN)):
        subfolder = folder / origin if origin == NEW_ORIGIN else folder / "images" / origin
        subfolder.mkdir(parents=True)
        for i in range(IMAGES_PER_ORIGIN):
            picture: Any = image(1000 * tint + i, tint=tint)
            picture.save(subfolder / f"{i:03d}.png")
    return Site(folder)


@dataclass(frozen=True)
class Stage:
    """A command that is killed at some of its writes.

    Parameters
    ----------
    name
        Name of the stage in the report.
    arguments
        Function that returns the arguments of ``whichgen``.
    after_extract
        Folders written by :data:`EXTRACT` that must exist before the command.
    write_path
        Text in the paths of the writes at which the command is killed; empty for all writes.
    """

    name: str
    arguments: Callable[[Site], list[object]]
    after_extract: tuple[str, ...] = ()
    write_path: str = ""


def _fit(site: Site, command: str = "linear", *more: object) -> list[object]:
    where = ["--cache-dir", site.work / "cache", "-o", site.work / "out", "--device", "cpu"]
    data = ["--data", site.folder / "images", "--unknown", "ddpm,flow"]
    encoder = ["--backbone", site.folder / "clip", "--batch-size", 4]
    return [command, *data, *encoder, *where, "--shuffles", 2, *more]


def _linear(site: Site) -> list[object]:
    return _fit(site, "linear", "--c-min", -1, "--c-max", 1, "--c-values", 2, "--jobs", 1)


def _enroll(site: Site) -> list[object]:
    target = ["-o", site.work / "enrolled", "--device", "cpu"]
    return ["enroll", NEW_ORIGIN, site.folder / NEW_ORIGIN, "-m", site.run, *target]


EXTRACT = Stage("extract", _linear, write_path="cache/")
FIT = Stage("fit", _linear, after_extract=("cache/features",))
FUSE = Stage("fuse", lambda site: _fit(site, "fuse", "--C", 1, "--jobs", 1))
ENROLL = Stage("enroll", _enroll, after_extract=("cache", "out"))


#: Modules that take long to import. They are imported once, in the process from which all commands
#: are forked.
_PRELOAD = (
    "child",
    "matplotlib.pyplot",
    "sklearn.linear_model",
    "transformers.models.clip.modeling_clip",
    "whichgen.inference.enroll",
    "whichgen.cli.training_run",
    "whichgen.encoders.loading",
    "whichgen.training.fit_block",
    "whichgen.report.run_folder",
    "whichgen.service.http_app",
)
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(list(_PRELOAD))


class Command:
    """A ``whichgen`` command in a new process, which can be killed at a write (:mod:`child`)."""

    def __init__(
        self, arguments: list[object], stderr: Path, write: int = 0, moment: str = "", log: str = ""
    ) -> None:
        self._stderr = stderr
        stderr.unlink(missing_ok=True)
        self._process = _processes.Process(
            target=child.run, args=([str(a) for a in arguments], write, moment, str(stderr), log)
        )
        self._process.start()

    @property
    def stderr(self) -> str:
        """Standard error of the command until now."""
        return self._stderr.read_text(encoding="utf-8") if self._stderr.exists() else ""

    def wait(self, seconds: float) -> int | None:
        """Wait for the command; return its exit status, or ``None`` if it still runs.

        The exit status of a killed command is negative. ``seconds`` is the time limit.
        """
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> int | None:
        """Kill the command and its workers if they still run; return the exit status."""
        with contextlib.suppress(ProcessLookupError):
            if self._process.is_alive():
                os.killpg(self._process.pid or 0, signal.SIGKILL)
        self._process.join()
        return self._process.exitcode
