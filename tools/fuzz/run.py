"""Fuzzes one target: ``python -m tools.fuzz.run images --cases 1000000 --minutes 30``.

With atheris (``pip install atheris``) cases are led by the coverage of whichgen and of Pillow's
Python plugins; without it, or with ``--plain``, they are seeds changed at random. Every different
finding is written to ``tools/fuzz/findings/TARGET/`` and the run goes on.
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

from tools.fuzz.choices import Choices, changed
from tools.fuzz.scratch import remove_all

FINDINGS = Path(__file__).parent / "findings"
TARGETS = ("annotations", "datasets", "evidence", "http", "images", "models", "store")

#: Bytes of a case at most.
_LONGEST = 4096


class Run:
    """Counts cases and keeps one file for each different finding."""

    def __init__(self, name: str, check: Callable[[bytes], None], cases: int, seconds: float):
        self.name, self._check = name, check
        self._cases, self._end = cases, time.monotonic() + seconds
        self.start = time.monotonic()
        self.cases, self.found = 0, dict[str, str]()

    def one(self, data: bytes) -> None:
        """Runs one case."""
        self.cases += 1
        try:
            self._check(data)
        except Exception as error:
            self._keep(data, error)
        if self.cases % 20_000 == 0:
            self.tell()

    @property
    def over(self) -> bool:
        """Whether there were cases or minutes enough."""
        return self.cases >= self._cases or time.monotonic() > self._end

    def tell(self) -> None:
        """One line of how it stands."""
        minutes = (time.monotonic() - self.start) / 60
        sys.stderr.write(
            f"{self.name}: {self.cases} cases, {minutes:.1f} minutes, {len(self.found)} findings\n"
        )

    def _keep(self, data: bytes, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "whichgen" in f.filename or "targets" in f.filename]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].name}:{ours[-1].lineno}" if ours else ""
        key = f"{type(error).__name__} {place}"
        if key in self.found:
            return
        self.found[key] = str(error)[:300]
        digest = hashlib.sha256(data).hexdigest()[:12]
        folder = FINDINGS / self.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / digest).write_bytes(data)
        shown = "".join(traceback.format_exception(error)[-6:])
        sys.stderr.write(f"FINDING {digest} {key}: {self.found[key]}\n{shown}\n")


def main() -> None:
    """Runs until there were cases or minutes enough; exits with 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="without atheris")
    asked = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    atheris: Any = None
    if not asked.plain:
        with contextlib.suppress(ImportError):
            atheris = importlib.import_module("atheris")
    watch = atheris.instrument_imports if atheris else contextlib.nullcontext
    included = {"include": ["whichgen", "PIL"]} if atheris else {}
    with watch(**included):
        target = importlib.import_module(f"tools.fuzz.targets.{asked.target}")
    run = Run(asked.target, target.check, asked.cases, 60 * asked.minutes)
    seeds: list[bytes] = target.seeds()
    if atheris:
        _guided(atheris, run, seeds, asked.seed)
    else:
        rng = random.Random(asked.seed)
        while not run.over:
            decisions = rng.randbytes(rng.randrange(200))
            run.one(changed(Choices(decisions), rng.choice(seeds))[:_LONGEST])
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
    run.tell()
    minutes = (time.monotonic() - run.start) / 60
    told = {"target": run.name, "cases": run.cases, "minutes": round(minutes, 1)}
    print(json.dumps({**told, "findings": run.found}), flush=True)
    sys.stderr.flush()
    remove_all()
    # libFuzzer would go on, and threads of a service wait for one another.
    os._exit(1 if run.found else 0)


if __name__ == "__main__":
    main()
