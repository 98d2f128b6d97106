"""Run whichgen and measure the stages of a training command.

python benchmarks/speed/stage_timer.py REPORT.json linear --data …

The stages are functions that the command calls. Their times are written to ``REPORT.json``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

#: Stages of a training command: module, function and description. Stages with a dash are parts of
#: the stage above.
STAGES = (
    ("whichgen.cli.training_run", "prepare_training", "open the dataset, extract features"),
    ("whichgen.features.batching", "BatchEncoder.__call__", "– run the network"),
    ("whichgen.features.image_encoding", "_take_batch", "– wait for decoded images"),
    ("whichgen.cli.training_run", "check_shortcuts", "check for shortcuts"),
    ("whichgen.cli.training_run", "fit", "fit and select on all blocks, test"),
    ("whichgen.cli.training_run", "run_label_shuffle", "control: shuffled labels"),
    ("whichgen.cli.training_run", "write_run", "write report, plots and model"),
)


def main() -> None:
    """Run the command in the arguments, behind the name of the report."""
    report, *arguments = sys.argv[1:]
    start = _now()
    from whichgen.cli.app import main as run

    import_module("whichgen.cli.training_run")
    rows: list[dict[str, Any]] = [_row("imports", start)]
    for module, function, name in STAGES:
        rows.append({"stage": name, "seconds": 0.0, "cpu": 0.0})
        _measure_calls(module, function, rows[-1])
    sys.argv = ["whichgen", *arguments]
    try:
        run()
    except SystemExit as end:
        if end.code:
            raise
    Path(report).write_text(json.dumps([*rows, _row("all", start)]))


def _measure_calls(module: str, function: str, row: dict[str, Any]) -> None:
    """Replace a function by one that adds its times to a row."""
    owner: Any = import_module(module)
    *path, name = function.split(".")
    for part in path:
        owner = getattr(owner, part)
    call: Callable[..., Any] = getattr(owner, name)

    def measured(*args: Any, **keywords: Any) -> Any:
        start = _now()
        try:
            return call(*args, **keywords)
        finally:
            stage = _row("", start)
            row["seconds"] += stage["seconds"]
            row["cpu"] += stage["cpu"]

    setattr(owner, name, measured)


def _row(stage: str, start: tuple[float, float]) -> dict[str, Any]:
    seconds, cpu = (now - then for now, then in zip(_now(), start, strict=True))
    return {"stage": stage, "seconds": seconds, "cpu": cpu}


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


if __name__ == "__main__":
    main()
