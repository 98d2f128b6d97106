"""Rounds of one command: killed and run again, or several of it at a time."""

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
from state import differences, left_over, state

#: Seconds that a command may take.
_PATIENCE = 300


@dataclass
class Tally:
    """What happened, and everything that went wrong.

    Parameters
    ----------
    deaths
        Their numbers by stage and moment.
    completed
        Runs that completed after deaths, by stage.
    together
        Rounds of so many processes at a time, of which so many died.
    left
        Temporary files that the dead left.
    """

    deaths: Counter[tuple[str, str]] = field(default_factory=Counter)
    completed: Counter[str] = field(default_factory=Counter)
    together: Counter[tuple[int, int]] = field(default_factory=Counter)
    left: int = 0
    wrong: list[str] = field(default_factory=list)

    def of(self, stage: str) -> int:
        """Deaths in a stage."""
        return sum(n for (name, _), n in self.deaths.items() if name == stage)


@dataclass(frozen=True)
class Undisturbed:
    """What a stage leaves without a death, and its writes: seconds since the start, and place."""

    state: dict[str, str]
    writes: list[tuple[float, str]]

    def own(self, stage: Stage) -> list[int]:
        """The numbers of the writes that belong to a stage, from 1."""
        return [n for n, (_, place) in enumerate(self.writes, 1) if stage.writes in place]


class Rounds:
    """Rounds of the stages on one site.

    Parameters
    ----------
    snapshots
        A folder to keep undisturbed runs in.
    at_writes
        The share of deaths that are at a write; others are at any time.
    """

    def __init__(
        self, site: Site, snapshots: Path, rng: random.Random, *, at_writes: float = 0.6
    ) -> None:
        self.site, self.snapshots, self.rng, self.tally = site, snapshots, rng, Tally()
        self._at_writes = at_writes
        self._undisturbed: dict[str, Undisturbed] = {}
        snapshots.mkdir(parents=True, exist_ok=True)

    def undisturbed(self, stage: Stage) -> Undisturbed:
        """Runs a stage without a death, once, and keeps what it left."""
        if stage.name not in self._undisturbed:
            if stage.after_extract:
                self.undisturbed(EXTRACT)
            self.prepare(stage)
            log = self.snapshots / f"{stage.name}.log"
            command = self._start(stage, log=str(log))
            if command.wait(_PATIENCE) != 0:
                raise RuntimeError(f"{stage.name} fails undisturbed: {command.said}")
            lines = [line.split("\t") for line in log.read_text().splitlines()]
            writes = [(float(seconds), place) for seconds, place in lines]
            self._undisturbed[stage.name] = Undisturbed(state(self.site.work), writes)
            shutil.copytree(self.site.work, self.snapshots / stage.name)
        return self._undisturbed[stage.name]

    def killed(self, stage: Stage, deaths: int) -> None:
        """Kills a stage so many times, lets it complete, and compares."""
        expected = self.undisturbed(stage)
        self.prepare(stage)
        died = [found for n in range(deaths) if (found := self._death(stage, expected, n))]
        command = self._start(stage)
        self._check(stage, [command], f"{stage.name} after {', '.join(died)}")
        self.tally.completed[stage.name] += 1

    def together(self, stage: Stage, processes: int, deaths: int = 0) -> None:
        """Runs a stage so many times at once, in one place; the first ``deaths`` of them die."""
        own = self.undisturbed(stage).own(stage)
        self.prepare(stage)
        dying = [
            self._start(stage, self.rng.choice(own), self.rng.choice(MOMENTS), name=f"{n}")
            for n in range(deaths)
        ]
        living = [self._start(stage, name=f"{n}") for n in range(deaths, processes)]
        for command in dying:
            command.wait(_PATIENCE)
            command.kill()
        self._age_left()
        # What a process that died beside it left goes when somebody comes an hour later.
        self._check(
            stage, living, f"{stage.name}, {processes} at a time, {deaths} killed", left=deaths
        )
        self.tally.together[processes, deaths] += 1

    def _check(self, stage: Stage, commands: list[Command], what: str, left: int = 0) -> None:
        problems: list[str] = []
        for command in commands:
            done = command.wait(_PATIENCE)
            # An enrolment that died when all was written, or that another was faster with.
            if done != 0 and not (stage.name == "enroll" and "holds a model" in command.said):
                problems.append(f"does not complete: {done} {command.said[-1000:]}")
            command.kill()
        try:
            problems += differences(state(self.site.work), self.undisturbed(stage).state)
        except AssertionError as error:
            problems.append(str(error))
        stays = left_over(self.site.work)
        problems += [f"stays: {file}" for file in stays] if len(stays) > left else []
        self.tally.wrong += [f"{what}: {problem}" for problem in problems]

    def _death(self, stage: Stage, expected: Undisturbed, before: int) -> str:
        """One death; how, or nothing if the command was done before."""
        own = expected.own(stage)
        if self.rng.random() < self._at_writes:
            # After a death less is left to write.
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
        self._age_left()
        self.tally.deaths[stage.name, moment] += 1
        return how

    def _age_left(self) -> None:
        """As if more than an hour had gone by since the death."""
        for file in left_over(self.site.work):
            if file.stat().st_mtime > time.time() - 3600:
                self.tally.left += 1
                os.utime(file, (time.time() - 7200,) * 2)

    def _start(
        self, stage: Stage, write: int = 0, moment: str = "", *, log: str = "", name: str = ""
    ) -> Command:
        said = self.snapshots / f"said{name}.txt"
        return Command(stage.arguments(self.site), said, write, moment, log)

    def prepare(self, stage: Stage) -> None:
        """Puts what must be there before a stage, and nothing else, into the folder of work."""
        shutil.rmtree(self.site.work, ignore_errors=True)
        self.site.work.mkdir(parents=True)
        for kept in stage.after_extract:
            shutil.copytree(self.snapshots / EXTRACT.name / kept, self.site.work / kept)
