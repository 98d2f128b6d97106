"""Kills whichgen at random moments and looks whether anything is lost.

``python faults/kill.py --times 100`` writes ``faults/RESULTS.md`` and fails if anything was: a
segment set aside, a run that does not complete, a result that is not the undisturbed run's to the
byte, a temporary file that stays.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from child import MOMENTS
from serving import ServeRounds
from stages import ENROLL, EXTRACT, FIT, FUSE, Command, Site, Stage, make_site
from state import differences, left_over, state

#: The share of deaths at a write; others are at any time.
_AT_WRITES = 0.6

#: Deaths in a row before a run is left to complete.
_IN_A_ROW = 3

#: Seconds that a command may take.
_PATIENCE = 300


@dataclass
class Tally:
    """What happened: deaths by stage and moment, and everything that went wrong."""

    deaths: Counter[tuple[str, str]] = field(default_factory=Counter)
    completed: Counter[str] = field(default_factory=Counter)
    left: int = 0
    wrong: list[str] = field(default_factory=list)

    def of(self, stage: str) -> int:
        """Deaths in a stage."""
        return sum(n for (name, _), n in self.deaths.items() if name == stage)


@dataclass(frozen=True)
class Undisturbed:
    """A stage without a death: its state, its writes (seconds, path), and how long it took."""

    state: dict[str, str]
    writes: list[tuple[float, str]]
    seconds: float


class Rounds:
    """Rounds of deaths and completion of some stages on one site."""

    def __init__(self, site: Site, snapshots: Path, rng: random.Random, tally: Tally) -> None:
        self.site, self.rng, self.tally = site, rng, tally
        self._snapshots = snapshots
        self._undisturbed: dict[str, Undisturbed] = {}

    def undisturbed(self, stage: Stage) -> Undisturbed:
        """Runs a stage once without a death, and keeps what it left."""
        if stage.name not in self._undisturbed:
            if stage.before:
                self.undisturbed({s.name: s for s in (EXTRACT,)}[stage.before])
            self._prepare(stage)
            log = self._snapshots / f"{stage.name}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            log.unlink(missing_ok=True)
            begun = time.monotonic()
            command = self._start(stage, log=str(log))
            if command.wait(_PATIENCE) != 0:
                raise RuntimeError(f"{stage.name} fails undisturbed: {command.said}")
            lines = [line.split("\t") for line in log.read_text().splitlines()]
            self._undisturbed[stage.name] = Undisturbed(
                state(self.site.work),
                [(float(seconds), place) for seconds, place in lines],
                time.monotonic() - begun,
            )
            shutil.copytree(self.site.work, self._snapshots / stage.name)
        return self._undisturbed[stage.name]

    def round(self, stage: Stage, deaths: int) -> None:
        """Kills a stage so many times, lets it complete, and compares."""
        expected = self.undisturbed(stage)
        self._prepare(stage)
        died = [found for n in range(deaths) if (found := self._death(stage, expected, n))]
        command = self._start(stage)
        finished_before = command.wait(_PATIENCE) == 1 and "holds a model" in command.said
        problems: list[str] = []
        if command.kill() != 0 and not finished_before:
            problems.append(f"does not complete: {command.said[-1000:]}")
        try:
            problems += differences(state(self.site.work), expected.state)
        except AssertionError as error:
            problems.append(str(error))
        problems += [f"stays: {file}" for file in left_over(self.site.work)]
        self.tally.wrong += [f"{stage.name} after {', '.join(died)}: {p}" for p in problems]
        self.tally.completed[stage.name] += 1

    def _death(self, stage: Stage, expected: Undisturbed, before: int) -> str:
        """One death; how, or nothing if the command was done before."""
        own = [n for n, (_, place) in enumerate(expected.writes, 1) if stage.writes in place]
        if self.rng.random() < _AT_WRITES:
            # After a death less is left to write.
            write, moment = (
                self.rng.choice(own[: max(1, len(own) >> before)]),
                self.rng.choice(MOMENTS),
            )
            command = self._start(stage, write=write, moment=moment)
            command.wait(_PATIENCE)
        else:
            first, last = expected.writes[own[0] - 1][0], expected.writes[own[-1] - 1][0]
            command, moment = self._start(stage), "any time"
            command.wait(self.rng.uniform(max(0, first - 0.5), last + 0.2))
        if (command.kill() or 0) >= 0:
            return ""
        left = left_over(self.site.work)
        self.tally.left += len(left)
        for file in left:  # as if an hour had gone by
            os.utime(file, (time.time() - 7200,) * 2)
        self.tally.deaths[stage.name, moment] += 1
        return moment if moment == "any time" else f"{moment} {write}"

    def _start(self, stage: Stage, write: int = 0, moment: str = "", log: str = "") -> Command:
        said = self._snapshots / "said.txt"
        return Command(stage.arguments(self.site), said, write, moment, log)

    def _prepare(self, stage: Stage) -> None:
        shutil.rmtree(self.site.work, ignore_errors=True)
        self.site.work.mkdir(parents=True)
        if stage.before:
            source = self._snapshots / stage.before / stage.only
            shutil.copytree(source, self.site.work / stage.only, dirs_exist_ok=True)


def run(
    site: Site, snapshots: Path, times: int, seed: int, names: Sequence[str], *, show: bool = False
) -> Tally:
    """``times`` deaths, divided among the stages."""
    tally = Tally()
    rng = random.Random(seed)
    rounds = Rounds(site, snapshots, rng, tally)
    stages = {stage.name: stage for stage in (EXTRACT, FIT, FUSE, ENROLL)}
    for i, name in enumerate(names):
        wanted = times * (i + 1) // len(names) - times * i // len(names)
        if name == "serve":
            rounds.undisturbed(EXTRACT)
            ServeRounds(site, snapshots / EXTRACT.name, rng, tally).run(wanted, show=show)
            continue
        while (missing := wanted - tally.of(name)) > 0:
            rounds.round(stages[name], min(missing, rng.randint(1, _IN_A_ROW)))
            if show:
                sys.stderr.write(f"{name}: {tally.of(name)} of {wanted}, {tally.wrong or 'well'}\n")
    return tally


def _report(tally: Tally, names: Sequence[str], seed: int) -> str:
    moments = (*MOMENTS, "any time")
    rows = "".join(
        f"| {name} | {' | '.join(str(tally.deaths[name, m]) for m in moments)} "
        f"| {tally.of(name)} | {tally.completed[name]} |\n"
        for name in names
    )
    total = sum(tally.deaths.values())
    wrong = "".join(f"- {line}\n" for line in tally.wrong) or "None.\n"
    return f"""# Killed, and run again

`python faults/kill.py --times {total} --seed {seed}`: {total} × `kill -9` of the whole process \
group, of the real commands on a tiny data set (60 images, a random CLIP tower of three blocks).

| stage | half written | written, not renamed | renamed, not synced | at any time | deaths | \
completed after |
| --- | --- | --- | --- | --- | --- | --- |
{rows}
The first three are at a write drawn by chance, the fourth at a time drawn over those in which the \
stage writes. A run dies one to {_IN_A_ROW} times, then completes, and then everything but the \
time it was made at must be equal to the undisturbed run's to the byte: features by image and \
block, splits, sweeps, head, model, figures, tables, plots. The service is killed while requests \
and enrolments are under way, and started again: each answer that a client got must be the \
model's own, each enrolled model whole or absent.

The dead left {tally.left} temporary files; the runs that completed removed them, once an hour old.

## What went wrong

{wrong}"""


def main() -> int:
    """The command line."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from conftest import noise_image, save_tiny_clip

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", default="extract,fit,enroll,serve")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    given = parser.parse_args()
    names = given.stages.split(",")
    with tempfile.TemporaryDirectory() as folder:
        site = make_site(Path(folder) / "site", save_tiny_clip, noise_image)
        snapshots = Path(folder) / "snapshots"
        tally = run(site, snapshots, given.times, given.seed, names, show=True)
    given.results.write_text(_report(tally, names, given.seed), encoding="utf-8")
    return bool(tally.wrong)


if __name__ == "__main__":
    sys.exit(main())
