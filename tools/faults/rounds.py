"""Run a command repeatedly with kills, or several copies at the same time."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from child import MOMENTS
from stages import EXTRACT, Command, Site, Stage
from state import compute_state, find_leftovers, list_differences

#: Seconds that a command may take.
_PATIENCE = 300


@dataclass
class Tally:
    """Counts of deaths and completed runs, and all problems.

    Parameters
    ----------
    deaths
        Number by stage and moment.
    completed
        Runs that completed after deaths, by stage.
    together
        Number of rounds by concurrent processes and deaths among them.
    leftovers
        Number of temporary files left by killed processes.
    """

    deaths: Counter[tuple[str, str]] = field(default_factory=Counter)
    completed: Counter[str] = field(default_factory=Counter)
    together: Counter[tuple[int, int]] = field(default_factory=Counter)
    leftovers: int = 0
    problems: list[str] = field(default_factory=list)

    def of(self, stage: str) -> int:
        """Deaths in a stage."""
        return sum(n for (name, _), n in self.deaths.items() if name == stage)


@dataclass(frozen=True)
class Undisturbed:
    """The state after a run without a death, and its writes: seconds since the start, and path."""

    state: dict[str, str]
    writes: list[tuple[float, str]]

    def own(self, stage: Stage) -> list[int]:
        """Return the numbers (from 1) of the writes that belong to a stage."""
        return [n for n, (_, place) in enumerate(self.writes, 1) if stage.writes in place]


class Rounds:
    """Rounds of the stages on one site.

    Parameters
    ----------
    snapshots
        Folder of undisturbed runs.
    at_writes
        Share of deaths at a write; the others are at a random time.
    """

    def __init__(
        self, site: Site, snapshots: Path, rng: random.Random, *, at_writes: float = 0.6
    ) -> None:
        self.site, self.snapshots, self.rng, self.tally = site, snapshots, rng, Tally()
        self._at_writes = at_writes
        self._undisturbed: dict[str, Undisturbed] = {}
        snapshots.mkdir(parents=True, exist_ok=True)

    def run_undisturbed(self, stage: Stage) -> Undisturbed:
        """Run a stage without a death, once, and keep its state."""
        if stage.name not in self._undisturbed:
            if stage.after_extract:
                self.run_undisturbed(EXTRACT)
            self.prepare(stage)
            log = self.snapshots / f"{stage.name}.log"
            command = self._start(stage, log=str(log))
            if command.wait(_PATIENCE) != 0:
                raise RuntimeError(f"{stage.name} fails undisturbed: {command.stderr}")
            lines = [line.split("\t") for line in log.read_text().splitlines()]
            writes = [(float(seconds), place) for seconds, place in lines]
            self._undisturbed[stage.name] = Undisturbed(compute_state(self.site.work), writes)
            shutil.copytree(self.site.work, self.snapshots / stage.name)
        return self._undisturbed[stage.name]

    def kill(self, stage: Stage, deaths: int) -> None:
        """Kill a stage ``deaths`` times, let it complete, and compare the state."""
        expected = self.run_undisturbed(stage)
        self.prepare(stage)
        causes = [cause for n in range(deaths) if (cause := self._kill_once(stage, expected, n))]
        command = self._start(stage)
        self._check(stage, [command], f"{stage.name} after {', '.join(causes)}")
        self.tally.completed[stage.name] += 1

    def run_together(self, stage: Stage, processes: int, deaths: int = 0) -> None:
        """Run copies of a stage concurrently in one folder; the first ``deaths`` of them die."""
        own = self.run_undisturbed(stage).own(stage)
        self.prepare(stage)
        dying = [
            self._start(stage, self.rng.choice(own), self.rng.choice(MOMENTS), name=f"{n}")
            for n in range(deaths)
        ]
        living = [self._start(stage, name=f"{n}") for n in range(deaths, processes)]
        for command in dying:
            command.wait(_PATIENCE)
            command.kill()
        self._age_leftovers()
        # Files of processes that died meanwhile are removed an hour later.
        self._check(
            stage, living, f"{stage.name}, {processes} at a time, {deaths} killed", leftovers=deaths
        )
        self.tally.together[processes, deaths] += 1

    def _check(self, stage: Stage, commands: list[Command], what: str, leftovers: int = 0) -> None:
        problems: list[str] = []
        for command in commands:
            code = command.wait(_PATIENCE)
            # The enrollment had died after its last write, or another process was faster.
            if code != 0 and not (stage.name == "enroll" and "holds a model" in command.stderr):
                problems.append(f"does not complete: {code} {command.stderr[-1000:]}")
            command.kill()
        try:
            problems += list_differences(
                compute_state(self.site.work), self.run_undisturbed(stage).state
            )
        except AssertionError as error:
            problems.append(str(error))
        stays = find_leftovers(self.site.work)
        problems += [f"stays: {file}" for file in stays] if len(stays) > leftovers else []
        self.tally.problems += [f"{what}: {problem}" for problem in problems]

    def _kill_once(self, stage: Stage, expected: Undisturbed, before: int) -> str:
        """Kill the command once; return how, or "" if it completed before."""
        own = expected.own(stage)
        if self.rng.random() < self._at_writes:
            # After a death, fewer writes remain.
            write = self.rng.choice(own[: max(1, len(own) >> before)])
            moment = self.rng.choice(MOMENTS)
            command, how = self._start(stage, write, moment), f"{moment} {write}"
            command.wait(_PATIENCE)
        else:
            first, last = expected.writes[own[0] - 1][0], expected.writes[own[-1] - 1][0]
            seconds = self.rng.uniform(max(0, first - 0.5), last + 0.2)
            command, moment, how = self._start(stage), "any time", f"{seconds:.2f} s"
            command.wait(seconds)
        if (command.kill() or 0) >= 0:
            return ""
        self._age_leftovers()
        self.tally.deaths[stage.name, moment] += 1
        return how

    def _age_leftovers(self) -> None:
        """Make leftover files look more than an hour old."""
        for file in find_leftovers(self.site.work):
            if file.stat().st_mtime > time.time() - 3600:
                self.tally.leftovers += 1
                os.utime(file, (time.time() - 7200,) * 2)

    def _start(
        self, stage: Stage, write: int = 0, moment: str = "", *, log: str = "", name: str = ""
    ) -> Command:
        stderr = self.snapshots / f"stderr{name}.txt"
        return Command(stage.arguments(self.site), stderr, write, moment, log)

    def prepare(self, stage: Stage) -> None:
        """Put exactly the files that a stage needs into the work folder."""
        shutil.rmtree(self.site.work, ignore_errors=True)
        self.site.work.mkdir(parents=True)
        for name in stage.after_extract:
            shutil.copytree(self.snapshots / EXTRACT.name / name, self.site.work / name)
