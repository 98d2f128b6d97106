"""Where the time of a training command goes: its stages."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from processes import measure

from whichgen.io.result_files import Row


def stage_rows(arguments: Sequence[str], file: Path) -> Iterator[Row]:
    """Run ``whichgen`` and yield its stages, with the CPU time of the main process.

    ``file`` is the path for the times (:mod:`stage_timer`).
    """
    program = Path(__file__).with_name("stage_timer.py")
    usage = measure([sys.executable, str(program), str(file), *arguments, "--force"])
    for row in json.loads(file.read_text()):
        yield {
            "stage": row["stage"],
            "seconds": f"{row['seconds']:.1f}",
            "CPU seconds": f"{row['cpu']:.1f}",
            "share": f"{100 * row['seconds'] / usage.seconds:.0f} %",
        }
