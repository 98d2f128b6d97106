"""Kill the service during requests and enrollments, and restart it."""

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
from state import find_leftovers

from whichgen.errors import ModelFileError
from whichgen.models.saved_model import DESCRIPTION_FILE, load_model

if TYPE_CHECKING:
    from rounds import Tally

#: Number of concurrent clients.
_CLIENTS = 3

#: Seconds after which a service that did not die at a write is killed.
_LONGEST = 4

#: Scores that differ by less are equal.
_ROUNDING = 1e-6

#: Number of writes of an enrollment; the service dies at one of them.
_WRITES = 4


class ServeRounds:
    """Kill a service repeatedly; each start checks the state after the previous death."""

    def __init__(self, site: Site, before: Path, rng: random.Random, tally: Tally) -> None:
        self._site, self._rng, self._tally = site, rng, tally
        shutil.rmtree(site.work, ignore_errors=True)
        shutil.copytree(before, site.work)
        self._enroll_folder = site.work / "enrolled"
        self._expected: dict[tuple[str, str], Any] = {}

    def run(self, times: int, *, show: bool = False) -> None:
        """Kill the service ``times`` times, then start it once more."""
        for n in range(times + 1):
            write = self._rng.randint(1, _WRITES) if n < times and self._rng.random() < 0.6 else 0
            moment = self._rng.choice(MOMENTS)
            stderr = self._site.folder / "stderr.txt"
            service = Command(self._arguments(), stderr, write, moment)
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
                sys.stderr.write(f"serve: {n} of {times}, {self._tally.problems or 'well'}\n")

    def _arguments(self) -> list[object]:
        where = ["--port", 0, "--device", "cpu", "--rate-limit", 0]
        return ["serve", "-m", self._site.run, *where, "--enroll-to", self._enroll_folder]

    def _disturb(self, service: Command, address: str, n: int) -> bool:
        """Send requests from several threads until it dies; return whether it died at a write."""
        until = time.monotonic() + self._rng.uniform(0.05, _LONGEST)
        threads = [
            threading.Thread(target=self._client, args=(address, self._rng.random(), until + 5))
            for _ in range(_CLIENTS)
        ]
        threads += [threading.Thread(target=self._enroll, args=(address, f"{NEW}-{n}"))]
        for thread in threads:
            thread.start()
        while time.monotonic() < until and service.wait(0.01) is None:
            pass
        died = service.wait(0) is not None
        service.kill()
        for thread in threads:
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
        """Attribute an image; return false if the service no longer answers."""
        try:
            answer = httpx.post(
                f"{address}attribute", files={"images": Path(image).read_bytes()}, timeout=30
            )
        except httpx.TransportError as error:
            if rng is None:
                self._tally.problems.append(f"serve: no answer after the start: {error!r}")
            return False
        if answer.status_code == 503:
            return True
        if answer.status_code != 200:
            self._tally.problems.append(f"serve: {answer.status_code} {answer.text[:300]}")
            return True
        content = answer.json()
        attribution = content["images"][0]
        # The answer of one model must not depend on other requests or on earlier deaths.
        key = (content["model"], image)
        expected = self._expected.setdefault(key, attribution)
        if not _alike(expected, attribution):
            self._tally.problems.append(f"serve: {image}: {attribution} instead of {expected}")
        return True

    def _enroll(self, address: str, name: str) -> None:
        time.sleep(self._rng.uniform(0, 0.5))
        files = [("images", file.read_bytes()) for file in self._site.images(NEW)[:3]]
        try:
            response = httpx.post(f"{address}enroll", data={"name": name}, files=files, timeout=30)
        except httpx.TransportError:
            return
        if response.status_code != 200:
            self._tally.problems.append(
                f"serve: /enroll {response.status_code} {response.text[:300]}"
            )
        elif not (self._enroll_folder / name / "model" / DESCRIPTION_FILE).is_file():
            self._tally.problems.append(f"serve: {name} is missing after a successful enrollment")

    def _check_folders(self) -> None:
        """Check that every enrolled model is complete or absent."""
        for folder in self._enroll_folder.glob("*"):
            if not (folder / "model" / DESCRIPTION_FILE).is_file():
                continue
            try:
                load_model(folder)
            except ModelFileError as error:
                self._tally.problems.append(f"serve: {error}")
            if not (folder / "model" / "README.md").is_file():
                self._tally.problems.append(f"serve: {folder} has no card")
        self._tally.leftovers = max(self._tally.leftovers, len(find_leftovers(self._site.work)))


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Check that two answers are equal up to rounding, which depends on the batch."""
    numbers = [{**a["probabilities"], "score": a["score"]} for a in (one, other)]
    if numbers[0].keys() != numbers[1].keys():
        return False
    near = all(math.isclose(numbers[0][k], numbers[1][k], abs_tol=_ROUNDING) for k in numbers[0])
    return (
        near and one["origin"] == other["origin"] and one["coarse_origin"] == other["coarse_origin"]
    )


def _address(service: Command) -> str:
    while service.wait(0.05) is None:
        if match := re.search(r"http://\S+/", service.stderr):
            return match.group()
    raise RuntimeError(f"the service did not start: {service.stderr}")
