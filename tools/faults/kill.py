"""Kill whichgen at random moments and check that nothing is lost.

``python tools/faults/kill.py --times 100`` writes ``tools/faults/RESULTS.md`` and fails if
there is a problem: a damaged segment, a run that does not complete, a result that differs from
the undisturbed run's in any byte, or a temporary file that remains.
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

#: Maximum number of deaths before a run may complete.
_IN_A_ROW = 3


def run(rounds: Rounds, times: int, names: Sequence[str], *, show: bool = False) -> None:
    """Kill ``times`` times, divided among the stages."""
    site, rng, tally = rounds.site, rounds.rng, rounds.tally
    stages = {stage.name: stage for stage in (EXTRACT, FIT, FUSE, ENROLL)}
    for i, name in enumerate(names):
        n_deaths = times * (i + 1) // len(names) - times * i // len(names)
        if name == "serve":
            rounds.run_undisturbed(EXTRACT)
            ServeRounds(site, rounds.snapshots / EXTRACT.name, rng, tally).run(n_deaths, show=show)
            continue
        while (missing := n_deaths - tally.of(name)) > 0:
            rounds.kill(stages[name], min(missing, rng.randint(1, _IN_A_ROW)))
            if show:
                problems = tally.problems or "no problems"
                sys.stderr.write(f"{name}: {tally.of(name)} of {n_deaths}, {problems}\n")


def run_together(rounds: Rounds, repeats: int) -> None:
    """Run two or four fits concurrently with one cache and output folder; some are killed."""
    for processes, deaths in [(2, 0), (4, 0), (2, 1), (4, 2)]:
        for _ in range(repeats):
            rounds.run_together(EXTRACT, processes, deaths)


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
    problems = "".join(f"- {line}\n" for line in tally.problems) or "None.\n"
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

Killed processes left {tally.leftovers} temporary files; completed runs removed them after an hour.

Of {sum(tally.together.values())} rounds of two or four fits at a time with one cache and one \
output folder, {sum(n for (_, deaths), n in tally.together.items() if deaths)} had half of them \
killed at a write: {together}. The others completed, and the same was compared.

## Problems

{problems}"""


def main() -> int:
    """Run the command line."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from conftest import noise_image, save_tiny_clip

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--together", type=int, default=3, help="Rounds of each kind.")
    parser.add_argument("--stages", default="extract,fit,fuse,enroll,serve")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    arguments = parser.parse_args()
    names = arguments.stages.split(",")
    with tempfile.TemporaryDirectory() as folder:
        site = make_site(Path(folder) / "site", save_tiny_clip, noise_image)
        rounds = Rounds(site, Path(folder) / "snapshots", random.Random(arguments.seed))
        run(rounds, arguments.times, names, show=True)
        run_together(rounds, arguments.together)
    tally = rounds.tally
    arguments.results.write_text(_report(tally, names, arguments.seed), encoding="utf-8")
    return bool(tally.problems)


if __name__ == "__main__":
    sys.exit(main())
