"""Kill whichgen commands at random moments, and check that the next run gives the same result.

``python tools/faults/kill.py --times 100`` writes ``tools/faults/RESULTS.md``. The exit status is 1
if there is a problem: a damaged segment, a run that does not complete, a file that differs from the
file of a run that was not killed, or a temporary file that remains.
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

#: Maximum number of times that a command is killed before it may complete.
_MAX_DEATHS = 3


def run(rounds: Rounds, times: int, names: Sequence[str], *, show: bool = False) -> None:
    """Kill the stages ``names`` ``times`` times in total; ``show`` prints the progress."""
    site, rng, tally = rounds.site, rounds.rng, rounds.tally
    stages = {stage.name: stage for stage in (EXTRACT, FIT, FUSE, ENROLL)}
    for i, name in enumerate(names):
        n_deaths = times * (i + 1) // len(names) - times * i // len(names)
        if name == "serve":
            rounds.run_reference(EXTRACT)
            ServeRounds(site, rounds.snapshots / EXTRACT.name, rng, tally).run(n_deaths, show=show)
            continue
        while (missing := n_deaths - tally.count_deaths(name)) > 0:
            rounds.kill_and_resume(stages[name], min(missing, rng.randint(1, _MAX_DEATHS)))
            if show:
                problems = tally.problems or "no problems"
                sys.stderr.write(f"{name}: {tally.count_deaths(name)} of {n_deaths}, {problems}\n")


def run_concurrently(rounds: Rounds, repeats: int) -> None:
    """Run two or four fits concurrently in one cache and one output folder; some are killed."""
    for processes, deaths in [(2, 0), (4, 0), (2, 1), (4, 2)]:
        for _ in range(repeats):
            rounds.run_concurrently(EXTRACT, processes, deaths)


def _format_report(tally: Tally, names: Sequence[str], seed: int) -> str:
    moments = (*MOMENTS, "any time")
    rows = "".join(
        f"| {name} | {' | '.join(str(tally.deaths[name, m]) for m in moments)} "
        f"| {tally.count_deaths(name)} | {tally.completed[name]} |\n"
        for name in names
    )
    concurrent = ", ".join(
        f"{n} × {processes} with {deaths} killed"
        for (processes, deaths), n in sorted(tally.concurrent.items())
    )
    total = sum(tally.deaths.values())
    problems = "".join(f"- {line}\n" for line in tally.problems) or "None.\n"
    n_killed_rounds = sum(n for (_, deaths), n in tally.concurrent.items() if deaths)
    return f"""# Commands killed and run again

`python tools/faults/kill.py --times {total} --seed {seed}` sent SIGKILL {total} times to the \
process group of a `whichgen` command on a tiny dataset (60 images, a random CLIP encoder of three \
blocks). Each command was forked from a process that had imported torch.

| stage | half written | written, not renamed | renamed, not synced | any time | kills | \
completed afterwards |
| --- | --- | --- | --- | --- | --- | --- |
{rows}
The first three columns are kills at a random write, and the fourth column is kills at a random \
time while the stage writes. A command was killed one to {_MAX_DEATHS} times before it completed. \
After that, all files except times had to be equal, byte for byte, to the files of a run that was \
not killed: features by image and block, splits, sweeps, head, model, tables and plots. The \
service was killed during requests and enrollments and started again: each answer had to be the \
answer of the model, and each enrolled model had to be complete or absent.

Killed processes left {tally.leftovers} temporary files; completed runs removed files that were \
more than an hour old.

There were {sum(tally.concurrent.values())} rounds of two or four concurrent fits with one cache \
and one output folder. In {n_killed_rounds} rounds, half of the fits were killed at a write: \
{concurrent}. The other fits completed, and their files were compared in the same way.

## Problems

{problems}"""


def main() -> int:
    """Run the command line; return the exit status."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from conftest import noise_image, save_tiny_clip

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100, help="Number of kills.")
    parser.add_argument("--seed", type=int, default=0, help="Random seed.")
    parser.add_argument(
        "--concurrent", type=int, default=3, help="Rounds per number of concurrent fits and kills."
    )
    parser.add_argument(
        "--stages", default="extract,fit,fuse,enroll,serve", help="Stages to kill: NAME,NAME,…"
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=Path(__file__).with_name("RESULTS.md"),
        help="File of the report.",
    )
    arguments = parser.parse_args()
    names = arguments.stages.split(",")
    with tempfile.TemporaryDirectory() as folder:
        site = make_site(Path(folder) / "site", save_tiny_clip, noise_image)
        rounds = Rounds(site, Path(folder) / "snapshots", random.Random(arguments.seed))
        run(rounds, arguments.times, names, show=True)
        run_concurrently(rounds, arguments.concurrent)
    tally = rounds.tally
    arguments.results.write_text(_format_report(tally, names, arguments.seed), encoding="utf-8")
    return bool(tally.problems)


if __name__ == "__main__":
    sys.exit(main())
