"""Kill a command and run it again, or run several copies of a command concurrently."""

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

#: Time limit of a command in seconds.
_TIMEOUT = 300


@dataclass
class Tally:
    """Counts of killed and completed runs, and all problems.

    Parameters
    ----------
    deaths
        Number of killed runs by stage and moment.
    completed
        Number of runs that completed after a killed run, by stage.
    concurrent
        Number of rounds by the numbers of concurrent processes and of killed processes.
    leftovers
        Number of temporary files of killed processes.
    problems
        Messages about all problems.
    """

    deaths: Counter[tuple[str, str]] = field(default_factory=Counter)
    completed: Counter[str] = field(default_factory=Counter)
    concurrent: Counter[tuple[int, int]] = field(default_factory=Counter)
    leftovers: int = 0
    problems: list[str] = field(default_factory=list)

    def count_deaths(self, stage: str) -> int:
        """Return the number of killed runs of a stage."""
        return sum(n for (name, _), n in self.deaths.items() if name == stage)


@dataclass(frozen=True)
class ReferenceRun:
    """Result of a run that was not killed.

    Parameters
    ----------
    state
        State after the run (:func:`state.compute_state`).
    writes
        Seconds since the start, and path, of each write.
    """

    state: dict[str, str]
    writes: list[tuple[float, str]]

    def list_writes(self, stage: Stage) -> list[int]:
        """Return the numbers, counted from 1, of the writes of a stage."""
        return [n for n, (_, path) in enumerate(self.writes, 1) if stage.write_path in path]


class Rounds:
    """Rounds in which stages are killed and run again, all with the same site.

    Parameters
    ----------
    site
        Files of the commands.
    snapshots
        Folder for copies of the files of reference runs.
    rng
        Random generator that chooses the moments.
    at_writes
        Fraction of the kills that are at a write; the other kills are at a random time.
    """

    def __init__(
        self, site: Site, snapshots: Path, rng: random.Random, *, at_writes: float = 0.6
    ) -> None:
        self.site, self.snapshots, self.rng, self.tally = site, snapshots, rng, Tally()
        self._at_writes = at_writes
        self._references: dict[str, ReferenceRun] = {}
        snapshots.mkdir(parents=True, exist_ok=True)

    def run_reference(self, stage: Stage) -> ReferenceRun:
        """Return the result of a stage that is not killed; the stage is run only once."""
        if stage.name not in self._references:
            if stage.after_extract:
                self.run_reference(EXTRACT)
            self.prepare(stage)
            log = self.snapshots / f"{stage.name}.log"
            command = self._start(stage, log=str(log))
            if command.wait(_TIMEOUT) != 0:
                raise RuntimeError(f"{stage.name} fails without a kill: {command.stderr}")
            lines = [line.split("\t") for line in log.read_text().splitlines()]
            writes = [(float(seconds), path) for seconds, path in lines]
            self._references[stage.name] = ReferenceRun(compute_state(self.site.work), writes)
            shutil.copytree(self.site.work, self.snapshots / stage.name)
        return self._references[stage.name]

    def kill_and_resume(self, stage: Stage, deaths: int) -> None:
        """Kill a stage ``deaths`` times, let it complete, and compare its files."""
        expected = self.run_reference(stage)
        self.prepare(stage)
        causes = [cause for n in range(deaths) if (cause := self._kill_once(stage, expected, n))]
        command = self._start(stage)
        self._check(stage, [command], f"{stage.name} after {', '.join(causes)}")
        self.tally.completed[stage.name] += 1

    def run_concurrently(self, stage: Stage, processes: int, deaths: int = 0) -> None:
        """Run copies of a stage concurrently in one folder; the first ``deaths`` are killed."""
        writes = self.run_reference(stage).list_writes(stage)
        self.prepare(stage)
        killed_commands = [
            self._start(stage, self.rng.choice(writes), self.rng.choice(MOMENTS), name=f"{n}")
            for n in range(deaths)
        ]
        commands = [self._start(stage, name=f"{n}") for n in range(deaths, processes)]
        for command in killed_commands:
            command.wait(_TIMEOUT)
            command.kill()
        self._age_leftovers()
        # The files of processes that are killed meanwhile would be removed an hour later.
        name = f"{stage.name}, {processes} concurrent runs, {deaths} killed"
        self._check(stage, commands, name, leftovers=deaths)
        self.tally.concurrent[processes, deaths] += 1

    def _check(self, stage: Stage, commands: list[Command], name: str, leftovers: int = 0) -> None:
        """Wait for commands, compare the files with the reference run, and add problems.

        ``name`` describes the round in messages. Up to ``leftovers`` temporary files may remain.
        """
        problems: list[str] = []
        for command in commands:
            code = command.wait(_TIMEOUT)
            # An enrollment fails if it was killed after its last write, because the model exists.
            if code != 0 and not (stage.name == "enroll" and "holds a model" in command.stderr):
                problems.append(f"does not complete: {code} {command.stderr[-1000:]}")
            command.kill()
        try:
            problems += list_differences(
                compute_state(self.site.work), self.run_reference(stage).state
            )
        except AssertionError as error:
            problems.append(str(error))
        files = find_leftovers(self.site.work)
        problems += [f"remains: {file}" for file in files] if len(files) > leftovers else []
        self.tally.problems += [f"{name}: {problem}" for problem in problems]

    def _kill_once(self, stage: Stage, expected: ReferenceRun, previous: int) -> str:
        """Run a stage and kill it; return a description of the moment.

        The description is empty if the stage completed before the kill. ``previous`` is the number
        of previous kills of the stage in this round.
        """
        writes = expected.list_writes(stage)
        if self.rng.random() < self._at_writes:
            # After a killed run, fewer writes remain.
            write = self.rng.choice(writes[: max(1, len(writes) >> previous)])
            moment = self.rng.choice(MOMENTS)
            command, description = self._start(stage, write, moment), f"{moment} {write}"
            command.wait(_TIMEOUT)
        else:
            first, last = expected.writes[writes[0] - 1][0], expected.writes[writes[-1] - 1][0]
            seconds = self.rng.uniform(max(0, first - 0.5), last + 0.2)
            command, moment, description = self._start(stage), "any time", f"{seconds:.2f} s"
            command.wait(seconds)
        if (command.kill() or 0) >= 0:
            return ""
        self._age_leftovers()
        self.tally.deaths[stage.name, moment] += 1
        return description

    def _age_leftovers(self) -> None:
        """Set the modification time of leftover files to two hours ago, and count the files."""
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
        """Replace the content of the work folder by the files that a stage needs."""
        shutil.rmtree(self.site.work, ignore_errors=True)
        self.site.work.mkdir(parents=True)
        for name in stage.after_extract:
            shutil.copytree(self.snapshots / EXTRACT.name / name, self.site.work / name)
