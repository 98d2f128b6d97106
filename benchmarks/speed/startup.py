"""Measure the time and memory of short commands: the fastest of several runs."""

from __future__ import annotations

import sys
from pathlib import Path

from processes import WHICHGEN, measure

from whichgen.io.result_files import Row

ROOT = Path(__file__).resolve().parents[2]

#: An image without metadata.
IMAGE = ROOT / "demo" / "images" / "real" / "0000.png"

#: An image with Content Credentials, not part of the repository.
SIGNED = ROOT.parent / "shared" / "metadata" / "chatgpt_2025_a.png"

COMMANDS = {
    "whichgen --version": ["--version"],
    "whichgen --help": ["--help"],
    "whichgen linear --help": ["linear", "--help"],
    "whichgen evidence, no metadata": ["evidence", str(IMAGE)],
    "whichgen evidence, Content Credentials": ["evidence", str(SIGNED)],
    "whichgen attribute, built-in model": ["attribute", str(IMAGE)],
    "whichgen attribute, built-in model, --no-stability": [
        *("attribute", str(IMAGE), "--no-stability"),
    ],
    "the same with torch": ["attribute", str(IMAGE), "--no-stability", "--device", "cpu"],
}


def startup_rows(repeats: int = 5) -> list[Row]:
    """Return one row per command; the first row is Python without a program."""
    calls = {"python -c pass": [sys.executable, "-c", "pass"]}
    calls |= {name: [WHICHGEN, *words] for name, words in COMMANDS.items()}
    if not SIGNED.exists():
        del calls["whichgen evidence, Content Credentials"]
    rows: list[Row] = []
    for name, call in calls.items():
        measure(call)  # compiles bytecode and caches the converted network
        runs = [measure(call) for _ in range(repeats)]
        rows.append(
            {
                "command": name,
                "seconds": f"{min(run.seconds for run in runs):.2f}",
                "CPU seconds": f"{min(run.cpu for run in runs):.2f}",
                "peak MiB": f"{max(run.peak for run in runs):.0f}",
            }
        )
    return rows
