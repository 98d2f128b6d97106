"""Commands to be killed, on a tiny site: images of five origins and a random CLIP tower."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import child

ORIGINS = ("real", "gan", "vae", "ddpm", "flow")
NEW = "new"
EACH = 10


@dataclass(frozen=True)
class Site:
    """Where everything is. ``work`` is wiped before each round; its path is part of results."""

    folder: Path

    @property
    def work(self) -> Path:
        """The folder that commands write into: ``cache`` and ``out``."""
        return self.folder / "work"

    @property
    def run(self) -> Path:
        """The folder of a fit's results."""
        return self.work / "out" / "clip" / "images"

    def images(self, origin: str) -> list[Path]:
        """The images of one origin."""
        base = self.folder if origin == NEW else self.folder / "images"
        return sorted((base / origin).iterdir())


def make_site(
    folder: Path, save_encoder: Callable[[Path], object], image: Callable[..., object]
) -> Site:
    """Writes images and encoder; ``image(seed, tint=…)`` makes a PIL image."""
    save_encoder(folder / "clip")
    for tint, origin in enumerate((*ORIGINS, NEW)):
        inside = folder / origin if origin == NEW else folder / "images" / origin
        inside.mkdir(parents=True)
        for i in range(EACH):
            image(1000 * tint + i, tint=tint).save(inside / f"{i:03d}.png")  # type: ignore[attr-defined]
    return Site(folder)


@dataclass(frozen=True)
class Stage:
    """A command, what must be there before it, and which of its writes belong to it.

    Parameters
    ----------
    after_extract
        Folders of what :data:`EXTRACT` leaves that are there before.
    writes
        Text in the path of a write that belongs to the stage; empty: every one.
    """

    name: str
    arguments: Callable[[Site], list[object]]
    after_extract: tuple[str, ...] = ()
    writes: str = ""


def _fit(site: Site, command: str = "linear", *more: object) -> list[object]:
    where = ["--cache-dir", site.work / "cache", "-o", site.work / "out", "--device", "cpu"]
    data = ["--data", site.folder / "images", "--unknown", "ddpm,flow"]
    encoder = ["--backbone", site.folder / "clip", "--batch-size", 4]
    return [command, *data, *encoder, *where, "--shuffles", 2, *more]


def _linear(site: Site) -> list[object]:
    return _fit(site, "linear", "--c-min", -1, "--c-max", 1, "--c-values", 2, "--jobs", 1)


def _enroll(site: Site) -> list[object]:
    target = ["-o", site.work / "enrolled", "--device", "cpu"]
    return ["enroll", NEW, site.folder / NEW, "-m", site.run, *target]


EXTRACT = Stage("extract", _linear, writes="cache/")
FIT = Stage("fit", _linear, after_extract=("cache/features",))
FUSE = Stage("fuse", lambda site: _fit(site, "fuse", "--C", 1, "--jobs", 1))
ENROLL = Stage("enroll", _enroll, after_extract=("cache", "out"))


#: What commands spend most of their time importing; it is imported once, and each is a fork.
_PRELOAD = (
    "child",
    "matplotlib.pyplot",
    "sklearn.linear_model",
    "transformers.models.clip.modeling_clip",
    "whichgen.inference.enroll",
    "whichgen.cli.training",
    "whichgen.encoders.loading",
    "whichgen.training.fit_block",
    "whichgen.report.run_folder",
    "whichgen.service.http_app",
)
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(list(_PRELOAD))


class Command:
    """A running ``whichgen ARGUMENTS``; it can die at a given write (:mod:`child`)."""

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
        """Its standard error so far."""
        return self._stderr.read_text(encoding="utf-8") if self._stderr.exists() else ""

    def wait(self, seconds: float) -> int | None:
        """Its exit status, negative if it was killed; none if it still runs after that time."""
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> int | None:
        """``kill -9``, of its workers, too; its exit status, which may be an earlier one."""
        with contextlib.suppress(ProcessLookupError):
            if self._process.is_alive():
                os.killpg(self._process.pid or 0, signal.SIGKILL)
        self._process.join()
        return self._process.exitcode
