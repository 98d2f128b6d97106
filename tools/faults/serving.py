"""Kill the service during requests and enrollments, and start it again."""

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
from stages import NEW_ORIGIN, Command, Site
from state import find_leftovers

from whichgen.errors import ModelFileError
from whichgen.models.saved_model import DESCRIPTION_FILE, load_model

if TYPE_CHECKING:
    from rounds import Tally

#: Number of concurrent clients.
_CLIENTS = 3

#: Maximum time in seconds after which a service is killed if it was not killed at a write.
_MAX_SECONDS = 4

#: Maximum difference of two numbers that count as equal.
_TOLERANCE = 1e-6

#: Number of writes of an enrollment; the service is killed at one of them.
_ENROLL_WRITES = 4


class ServeRounds:
    """Kill a service repeatedly, and check after each kill that it starts and answers correctly.

    Parameters
    ----------
    site
        Files of the service.
    snapshot
        Folder with a trained model, which is copied into the work folder.
    rng
        Random generator that chooses the moments.
    tally
        Receives counts and problems.
    """

    def __init__(self, site: Site, snapshot: Path, rng: random.Random, tally: Tally) -> None:
        self._site, self._rng, self._tally = site, rng, tally
        shutil.rmtree(site.work, ignore_errors=True)
        shutil.copytree(snapshot, site.work)
        self._enroll_folder = site.work / "enrolled"
        self._expected: dict[tuple[str, str], Any] = {}

    def run(self, times: int, *, show: bool = False) -> None:
        """Kill the service ``times`` times, and start it once more; ``show`` prints progress."""
        for n in range(times + 1):
            write = (
                self._rng.randint(1, _ENROLL_WRITES)
                if n < times and self._rng.random() < 0.6
                else 0
            )
            moment = self._rng.choice(MOMENTS)
            stderr = self._site.folder / "stderr.txt"
            service = Command(self._arguments(), stderr, write, moment)
            try:
                address = _find_address(service)
                if not write:
                    self._ask(address, f"{self._site.folder}/images/real/000.png", None)
                if n < times:
                    was_killed = self._send_requests(service, address, n)
                    moment = moment if write and was_killed else "any time"
                    self._tally.deaths["serve", moment] += 1
            finally:
                service.kill()
            self._check_folders()
            self._tally.completed["serve"] += n > 0
            if show:
                problems = self._tally.problems or "no problems"
                sys.stderr.write(f"serve: {n} of {times}, {problems}\n")

    def _arguments(self) -> list[object]:
        options = ["--port", 0, "--device", "cpu", "--rate-limit", 0]
        return ["serve", "-m", self._site.run, *options, "--enroll-to", self._enroll_folder]

    def _send_requests(self, service: Command, address: str, n: int) -> bool:
        """Send requests and an enrollment, and kill the service after a random time.

        Return whether the service killed itself at a write before that time.
        """
        until = time.monotonic() + self._rng.uniform(0.05, _MAX_SECONDS)
        threads = [
            threading.Thread(target=self._run_client, args=(address, self._rng.random(), until + 5))
            for _ in range(_CLIENTS)
        ]
        threads += [threading.Thread(target=self._enroll, args=(address, f"{NEW_ORIGIN}-{n}"))]
        for thread in threads:
            thread.start()
        while time.monotonic() < until and service.wait(0.01) is None:
            pass
        was_killed = service.wait(0) is not None
        service.kill()
        for thread in threads:
            thread.join()
        return was_killed

    def _run_client(self, address: str, seed: float, until: float) -> None:
        """Send requests until a time or until the service does not answer."""
        rng = random.Random(seed)
        images = [
            str(file) for origin in ("real", "gan", "flow") for file in self._site.images(origin)
        ]
        while time.monotonic() < until and self._ask(address, rng.choice(images), rng):
            pass

    def _ask(self, address: str, image: str, rng: random.Random | None) -> bool:
        """Request an attribution, and check it; return whether the service answers.

        If ``rng`` is ``None``, it is a problem if the service does not answer.
        """
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
        # The answer of a model must not depend on other requests or on previous kills.
        key = (content["model"], image)
        expected = self._expected.setdefault(key, attribution)
        if not _are_equal(expected, attribution):
            self._tally.problems.append(f"serve: {image}: {attribution} instead of {expected}")
        return True

    def _enroll(self, address: str, name: str) -> None:
        """Request an enrollment, and check that the model exists if the request succeeds."""
        time.sleep(self._rng.uniform(0, 0.5))
        files = [("images", file.read_bytes()) for file in self._site.images(NEW_ORIGIN)[:3]]
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
        """Check that each enrolled model is complete or absent."""
        for folder in self._enroll_folder.glob("*"):
            if not (folder / "model" / DESCRIPTION_FILE).is_file():
                continue
            try:
                load_model(folder)
            except ModelFileError as error:
                self._tally.problems.append(f"serve: {error}")
            if not (folder / "model" / "README.md").is_file():
                self._tally.problems.append(f"serve: {folder} has no model card")
        self._tally.leftovers = max(self._tally.leftovers, len(find_leftovers(self._site.work)))


def _are_equal(answer: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Return whether two answers are equal up to rounding errors, which depend on the batch."""
    first, second = ({**a["probabilities"], "score": a["score"]} for a in (answer, expected))
    return (
        first.keys() == second.keys()
        and all(math.isclose(first[k], second[k], abs_tol=_TOLERANCE) for k in first)
        and all(answer[key] == expected[key] for key in ("origin", "coarse_origin"))
    )


def _find_address(service: Command) -> str:
    """Wait until the service has printed its address, and return the address."""
    while service.wait(0.05) is None:
        if match := re.search(r"http://\S+/", service.stderr):
            return match.group()
    raise RuntimeError(f"the service did not start: {service.stderr}")
