"""How long commands take to start, each the best of several in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from whichgen.io.tables import Row

COMMANDS = ("--version", "--help", "linear --help")


def measure(repeats: int = 5) -> list[Row]:
    """A row a command; the first is Python itself, doing nothing."""
    program = Path(sys.executable).parent / "whichgen"
    calls = {"python -c pass": [sys.executable, "-c", "pass"]}
    calls |= {f"whichgen {text}": [str(program), *text.split()] for text in COMMANDS}
    rows = []
    for name, call in calls.items():
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            subprocess.run(call, check=True, capture_output=True)
            times.append(time.perf_counter() - start)
        rows.append({"command": name, "seconds": f"{min(times):.2f}"})
    return rows
