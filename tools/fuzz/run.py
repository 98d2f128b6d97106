"""Fuzz one target: ``python -m tools.fuzz.run images --cases 1000000 --minutes 30``.

If atheris is installed (``pip install atheris``), the code coverage of whichgen and Pillow guides
the choice of cases. Otherwise, or with ``--plain``, cases are random mutations of the seeds. Each
distinct finding is written to ``tools/fuzz/findings/TARGET/``, and the run continues.
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
from tools.fuzz.temporary_folders import remove_all

FINDINGS = Path(__file__).parent / "findings"
TARGETS = ("annotations", "datasets", "evidence", "http", "images", "models", "store")

#: Maximum size of a case in bytes.
_MAX_CASE_BYTES = 4096


class Run:
    """Run cases of a target, count the cases, and write a file for each distinct finding.

    Parameters
    ----------
    name
        Name of the target.
    check
        Function of a case that raises an exception if there is a finding.
    cases, seconds
        Maximum number of cases, and time limit in seconds.
    """

    def __init__(self, name: str, check: Callable[[bytes], None], cases: int, seconds: float):
        self.name, self._check = name, check
        self._cases, self._end = cases, time.monotonic() + seconds
        self.start = time.monotonic()
        self.cases, self.findings = 0, dict[str, str]()

    def run_case(self, data: bytes) -> None:
        """Run a case; write a finding if the target raises an exception."""
        self.cases += 1
        try:
            self._check(data)
        except Exception as error:
            self._write_finding(data, error)
        if self.cases % 20_000 == 0:
            self.print_progress()

    @property
    def is_over(self) -> bool:
        """Whether the maximum number of cases or the time limit is reached."""
        return self.cases >= self._cases or time.monotonic() > self._end

    def print_progress(self) -> None:
        """Print the numbers of cases, minutes and findings."""
        minutes = (time.monotonic() - self.start) / 60
        counts = f"{self.cases} cases, {minutes:.1f} minutes, {len(self.findings)} findings"
        sys.stderr.write(f"{self.name}: {counts}\n")

    def _write_finding(self, data: bytes, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        frames = [f for f in frames if "whichgen" in f.filename or "targets" in f.filename]
        last = frames[-1] if frames else None
        location = f"{Path(last.filename).name}:{last.name}:{last.lineno}" if last else ""
        key = f"{type(error).__name__} {location}"
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
    """Run the command line; the exit status is 1 if there are findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--cases", type=int, default=1_000_000, help="Maximum number of cases.")
    parser.add_argument("--minutes", type=float, default=30, help="Time limit.")
    parser.add_argument("--seed", type=int, default=0, help="Random seed.")
    parser.add_argument("--plain", action="store_true", help="Do not use atheris.")
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    atheris: Any = None
    if not arguments.plain:
        with contextlib.suppress(ImportError):
            atheris = importlib.import_module("atheris")
    instrument = atheris.instrument_imports if atheris else contextlib.nullcontext
    packages = {"include": ["whichgen", "PIL"]} if atheris else {}
    with instrument(**packages):
        target = importlib.import_module(f"tools.fuzz.targets.{arguments.target}")
    run = Run(arguments.target, target.check, arguments.cases, 60 * arguments.minutes)
    seeds: list[bytes] = target.seeds()
    if atheris:
        _run_guided(atheris, run, seeds, arguments.seed)
    else:
        rng = random.Random(arguments.seed)
        while not run.is_over:
            decisions = rng.randbytes(rng.randrange(200))
            run.run_case(mutate(Choices(decisions), rng.choice(seeds))[:_MAX_CASE_BYTES])
        _finish(run)


def _run_guided(atheris: Any, run: Run, seeds: list[bytes], seed: int) -> None:
    """Run cases that atheris chooses by code coverage, and exit."""
    corpus = Path(tempfile.mkdtemp(prefix="whichgen-corpus-"))
    for number, data in enumerate(seeds):
        (corpus / f"seed{number}").write_bytes(data)

    def run_case(data: bytes) -> None:
        run.run_case(data)
        if run.is_over:
            _finish(run)

    flags = [
        *(f"-seed={seed + 1}", f"-max_len={max(_MAX_CASE_BYTES, *map(len, seeds))}", "-timeout=60"),
        f"-artifact_prefix={tempfile.gettempdir()}/whichgen-",
        *("-rss_limit_mb=6000", "-verbosity=0", "-print_final_stats=0", "-detect_leaks=0"),
    ]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], run_case)
    atheris.Fuzz()


def _finish(run: Run) -> None:
    """Print the results, remove temporary folders, and exit."""
    run.print_progress()
    minutes = (time.monotonic() - run.start) / 60
    summary = {"target": run.name, "cases": run.cases, "minutes": round(minutes, 1)}
    print(json.dumps({**summary, "findings": run.findings}), flush=True)
    sys.stderr.flush()
    remove_all()
    # sys.exit would not end libFuzzer and the threads of the service.
    os._exit(1 if run.findings else 0)


if __name__ == "__main__":
    main()
