"""The service killed while clients ask and enrol, and started again."""

from __future__ import annotations

import math
import random
import re
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from child import MOMENTS
from stages import NEW, Command, Site
from state import left_over

from whichgen.errors import ModelFileError
from whichgen.models.saved_model import DESCRIPTION_FILE, load_model

if TYPE_CHECKING:
    from rounds import Tally

#: Clients that ask at a time.
_CLIENTS = 3

#: Seconds after which a service that did not die at a write is killed.
_LONGEST = 4

#: Scores nearer to each other are one.
_ROUNDING = 1e-6

#: Writes of an enrolment and of some uploads, at one of which it dies.
_WRITES = 4


class ServeRounds:
    """Kills a service again and again; each start is the check of the death before."""

    def __init__(self, site: Site, before: Path, rng: random.Random, tally: Tally) -> None:
        self._site, self._rng, self._tally = site, rng, tally
        shutil.rmtree(site.work, ignore_errors=True)
        shutil.copytree(before, site.work)
        self._enrolled = site.work / "enrolled"
        self._expected: dict[tuple[str, str], Any] = {}

    def run(self, times: int, *, show: bool = False) -> None:
        """So many deaths, and a last start."""
        for n in range(times + 1):
            write = self._rng.randint(1, _WRITES) if n < times and self._rng.random() < 0.6 else 0
            moment = self._rng.choice(MOMENTS)
            said = self._site.folder / "said.txt"
            shutil.rmtree(self._site.work / "uploads", ignore_errors=True)
            service = Command(self._arguments(), said, write, moment)
            try:
                address = _address(service)
                if not write:
                    self._ask(address, f"{self._site.folder}/images/real/000.png", None)
                if n < times:
                    died = self._disturb(service, address, n)
                    self._tally.deaths["serve", moment if write and died else "any time"] += 1
            finally:
                service.kill()
            self._check_folders()
            self._tally.completed["serve"] += n > 0
            if show:
                sys.stderr.write(f"serve: {n} of {times}, {self._tally.wrong or 'well'}\n")

    def _arguments(self) -> list[object]:
        where = ["--port", 0, "--device", "cpu", "--rate-limit", 0]
        kept = ["--enroll-to", self._enrolled, "--keep-uploads", self._site.work / "uploads"]
        return ["serve", "-m", self._site.run, *where, *kept]

    def _disturb(self, service: Command, address: str, n: int) -> bool:
        """Asks and enrols from several threads until it dies; false if it had to be killed."""
        until = time.monotonic() + self._rng.uniform(0.05, _LONGEST)
        asking = [
            threading.Thread(target=self._client, args=(address, self._rng.random(), until + 5))
            for _ in range(_CLIENTS)
        ]
        asking += [threading.Thread(target=self._enrol, args=(address, f"{NEW}-{n}"))]
        for thread in asking:
            thread.start()
        while time.monotonic() < until and service.wait(0.01) is None:
            pass
        died = service.wait(0) is not None
        service.kill()
        for thread in asking:
            thread.join()
        return died

    def _client(self, address: str, seed: float, until: float) -> None:
        rng = random.Random(seed)
        images = [
            str(file) for origin in ("real", "gan", "flow") for file in self._site.images(origin)
        ]
        while time.monotonic() < until and self._ask(address, rng.choice(images), rng):
            pass

    def _ask(self, address: str, image: str, rng: random.Random | None) -> bool:
        """Asks about an image; false when nobody answers any more."""
        try:
            answer = httpx.post(
                f"{address}attribute", files={"images": Path(image).read_bytes()}, timeout=30
            )
        except httpx.TransportError as error:
            if rng is None:
                self._tally.wrong.append(f"serve: no answer after the start: {error!r}")
            return False
        if answer.status_code == 503:
            return True
        if answer.status_code != 200:
            self._tally.wrong.append(f"serve: {answer.status_code} {answer.text[:300]}")
            return True
        found = answer.json()
        said = found["images"][0]
        # One model, one answer: whatever else is asked, and after whatever death.
        told = self._expected.setdefault((found["model"], image), said)
        if not _alike(told, said):
            self._tally.wrong.append(f"serve: {image}: {said} instead of {told}")
        return True

    def _enrol(self, address: str, name: str) -> None:
        time.sleep(self._rng.uniform(0, 0.5))
        files = [("images", file.read_bytes()) for file in self._site.images(NEW)[:3]]
        try:
            done = httpx.post(f"{address}enroll", data={"name": name}, files=files, timeout=30)
        except httpx.TransportError:
            return
        if done.status_code != 200:
            self._tally.wrong.append(f"serve: /enroll {done.status_code} {done.text[:300]}")
        elif not (self._enrolled / name / "model" / DESCRIPTION_FILE).is_file():
            self._tally.wrong.append(f"serve: {name} was told to be enrolled and is not there")

    def _check_folders(self) -> None:
        """Each enrolled model whole or absent; no upload but whole ones."""
        for folder in self._enrolled.glob("*"):
            if not (folder / "model" / DESCRIPTION_FILE).is_file():
                continue
            try:
                load_model(folder)
            except ModelFileError as error:
                self._tally.wrong.append(f"serve: {error}")
            if not (folder / "model" / "README.md").is_file():
                self._tally.wrong.append(f"serve: {folder} has no card")
        whole = {
            file.read_bytes() for o in ("real", "gan", "flow") for file in self._site.images(o)
        }
        for file in (self._site.work / "uploads").glob("[!.]*"):
            if file.read_bytes() not in whole:
                self._tally.wrong.append(f"serve: {file} is no image that was uploaded")
        self._tally.left = max(self._tally.left, len(left_over(self._site.work)))


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two answers are the same but for the rounding of sums, which batches change."""
    numbers = [{**said["probabilities"], "score": said["score"]} for said in (one, other)]
    if numbers[0].keys() != numbers[1].keys():
        return False
    near = all(math.isclose(numbers[0][k], numbers[1][k], abs_tol=_ROUNDING) for k in numbers[0])
    return (
        near and one["origin"] == other["origin"] and one["coarse_origin"] == other["coarse_origin"]
    )


def _address(service: Command) -> str:
    while service.wait(0.05) is None:
        if found := re.search(r"http://\S+/", service.said):
            return found.group()
    raise RuntimeError(f"the service did not start: {service.said}")
