"""Kills whichgen at random moments and looks whether anything is lost.

``python tools/faults/kill.py --times 100`` writes ``tools/faults/RESULTS.md`` and fails if
anything was: a segment set aside, a run that does not complete, a result that is not the
undisturbed run's to the
byte, a temporary file that stays.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from child import MOMENTS
from rounds import Rounds, Tally
from serving import ServeRounds
from stages import ENROLL, EXTRACT, FIT, FUSE, make_site

#: Deaths in a row before a run is left to complete.
_IN_A_ROW = 3


def run(rounds: Rounds, times: int, names: Sequence[str], *, show: bool = False) -> None:
    """``times`` deaths, divided among the stages."""
    site, rng, tally = rounds.site, rounds.rng, rounds.tally
    stages = {stage.name: stage for stage in (EXTRACT, FIT, FUSE, ENROLL)}
    for i, name in enumerate(names):
        wanted = times * (i + 1) // len(names) - times * i // len(names)
        if name == "serve":
            rounds.undisturbed(EXTRACT)
            ServeRounds(site, rounds.snapshots / EXTRACT.name, rng, tally).run(wanted, show=show)
            continue
        while (missing := wanted - tally.of(name)) > 0:
            rounds.killed(stages[name], min(missing, rng.randint(1, _IN_A_ROW)))
            if show:
                sys.stderr.write(f"{name}: {tally.of(name)} of {wanted}, {tally.wrong or 'well'}\n")


def run_together(rounds: Rounds, repeats: int) -> None:
    """Two and four fits at a time with one cache and one output folder; in some, one dies."""
    for processes, deaths in [(2, 0), (4, 0), (2, 1), (4, 2)]:
        for _ in range(repeats):
            rounds.together(EXTRACT, processes, deaths)


def _report(tally: Tally, names: Sequence[str], seed: int) -> str:
    moments = (*MOMENTS, "any time")
    rows = "".join(
        f"| {name} | {' | '.join(str(tally.deaths[name, m]) for m in moments)} "
        f"| {tally.of(name)} | {tally.completed[name]} |\n"
        for name in names
    )
    together = ", ".join(
        f"{n} × {processes} with {deaths} killed"
        for (processes, deaths), n in sorted(tally.together.items())
    )
    total = sum(tally.deaths.values())
    wrong = "".join(f"- {line}\n" for line in tally.wrong) or "None.\n"
    return f"""# Killed, and run again

`python tools/faults/kill.py --times {total} --seed {seed}`: {total} × `kill -9` of the whole \
process group, of the real commands on a tiny data set (60 images, a random CLIP tower of three \
blocks), \
each forked from a process that has imported torch already.

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

Of {sum(tally.together.values())} rounds of two or four fits at a time with one cache and one \
output folder, {sum(n for (_, deaths), n in tally.together.items() if deaths)} had half of them \
killed at a write: {together}. The others completed, and the same was compared.

## What went wrong

{wrong}"""


def main() -> int:
    """The command line."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from conftest import noise_image, save_tiny_clip

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--together", type=int, default=3, help="Rounds of each kind.")
    parser.add_argument("--stages", default="extract,fit,fuse,enroll,serve")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    given = parser.parse_args()
    names = given.stages.split(",")
    with tempfile.TemporaryDirectory() as folder:
        site = make_site(Path(folder) / "site", save_tiny_clip, noise_image)
        rounds = Rounds(site, Path(folder) / "snapshots", random.Random(given.seed))
        run(rounds, given.times, names, show=True)
        run_together(rounds, given.together)
    tally = rounds.tally
    given.results.write_text(_report(tally, names, given.seed), encoding="utf-8")
    return bool(tally.wrong)


if __name__ == "__main__":
    sys.exit(main())
