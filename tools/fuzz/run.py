"""Fuzz one target: ``python -m tools.fuzz.run images --cases 1000000 --minutes 30``.

With atheris (``pip install atheris``) cases are guided by the coverage of whichgen and of Pillow's
Python plugins; without it, or with ``--plain``, they are random mutations of seeds. Each distinct
finding is written to ``tools/fuzz/findings/TARGET/``, and the run continues.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.fuzz.choices import Choices, mutate
from tools.fuzz.scratch import remove_all

FINDINGS = Path(__file__).parent / "findings"
TARGETS = ("annotations", "datasets", "evidence", "http", "images", "models", "store")

#: Maximum size of a case in bytes.
_LONGEST = 4096


class Run:
    """Count cases and write one file per distinct finding."""

    def __init__(self, name: str, check: Callable[[bytes], None], cases: int, seconds: float):
        self.name, self._check = name, check
        self._cases, self._end = cases, time.monotonic() + seconds
        self.start = time.monotonic()
        self.cases, self.findings = 0, dict[str, str]()

    def one(self, data: bytes) -> None:
        """Run one case."""
        self.cases += 1
        try:
            self._check(data)
        except Exception as error:
            self._write_finding(data, error)
        if self.cases % 20_000 == 0:
            self.print_progress()

    @property
    def over(self) -> bool:
        """Whether the limit of cases or minutes is reached."""
        return self.cases >= self._cases or time.monotonic() > self._end

    def print_progress(self) -> None:
        """Print the number of cases, minutes and findings."""
        minutes = (time.monotonic() - self.start) / 60
        counts = f"{self.cases} cases, {minutes:.1f} minutes, {len(self.findings)} findings"
        sys.stderr.write(f"{self.name}: {counts}\n")

    def _write_finding(self, data: bytes, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "whichgen" in f.filename or "targets" in f.filename]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].name}:{ours[-1].lineno}" if ours else ""
        key = f"{type(error).__name__} {place}"
        if key in self.findings:
            return
        self.findings[key] = str(error)[:300]
        digest = hashlib.sha256(data).hexdigest()[:12]
        folder = FINDINGS / self.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / digest).write_bytes(data)
        frames_text = "".join(traceback.format_exception(error)[-6:])
        sys.stderr.write(f"FINDING {digest} {key}: {self.findings[key]}\n{frames_text}\n")


def main() -> None:
    """Run until the limit of cases or minutes; exit with 1 if there are findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="without atheris")
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    atheris: Any = None
    if not arguments.plain:
        with contextlib.suppress(ImportError):
            atheris = importlib.import_module("atheris")
    watch = atheris.instrument_imports if atheris else contextlib.nullcontext
    packages = {"include": ["whichgen", "PIL"]} if atheris else {}
    with watch(**packages):
        target = importlib.import_module(f"tools.fuzz.targets.{arguments.target}")
    run = Run(arguments.target, target.check, arguments.cases, 60 * arguments.minutes)
    seeds: list[bytes] = target.seeds()
    if atheris:
        _guided(atheris, run, seeds, arguments.seed)
    else:
        rng = random.Random(arguments.seed)
        while not run.over:
            decisions = rng.randbytes(rng.randrange(200))
            run.one(mutate(Choices(decisions), rng.choice(seeds))[:_LONGEST])
        _finish(run)


def _guided(atheris: Any, run: Run, seeds: list[bytes], seed: int) -> None:
    corpus = Path(tempfile.mkdtemp(prefix="whichgen-corpus-"))
    for number, data in enumerate(seeds):
        (corpus / f"seed{number}").write_bytes(data)

    def one(data: bytes) -> None:
        run.one(data)
        if run.over:
            _finish(run)

    flags = [
        *(f"-seed={seed + 1}", f"-max_len={max(_LONGEST, *map(len, seeds))}", "-timeout=60"),
        f"-artifact_prefix={tempfile.gettempdir()}/whichgen-",
        *("-rss_limit_mb=6000", "-verbosity=0", "-print_final_stats=0", "-detect_leaks=0"),
    ]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], one)
    atheris.Fuzz()


def _finish(run: Run) -> None:
    run.print_progress()
    minutes = (time.monotonic() - run.start) / 60
    summary = {"target": run.name, "cases": run.cases, "minutes": round(minutes, 1)}
    print(json.dumps({**summary, "findings": run.findings}), flush=True)
    sys.stderr.flush()
    remove_all()
    # libFuzzer would continue, and threads of the service wait for each other.
    os._exit(1 if run.findings else 0)


if __name__ == "__main__":
    main()
