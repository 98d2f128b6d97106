"""Measure the time and peak memory of a command, including its child processes.

A process inherits the peak memory of its parent. The command is therefore started by a small
process, which runs this file as a program.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

#: The program of this virtual environment.
WHICHGEN = str(Path(sys.executable).parent / "whichgen")

#: Environment variables with which processes use compiled bytecode, as after ``pip install``.
_BYTECODE = {
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONPYCACHEPREFIX": str(Path(gettempdir()) / "whichgen-bytecode"),
}


@dataclass(frozen=True)
class Usage:
    """Time and memory of a command.

    Parameters
    ----------
    seconds
        Time from start to end.
    cpu
        User and system time of all processes in seconds.
    peak
        Peak memory of the largest process in MiB.
    """

    seconds: float
    cpu: float
    peak: float


def measure(command: Sequence[str]) -> Usage:
    """Run and measure a command; show its output only if it fails.

    Raises
    ------
    subprocess.CalledProcessError
        The command fails.
    """
    with TemporaryDirectory() as folder:
        report = Path(folder) / "usage.json"
        result = subprocess.run(
            [sys.executable, __file__, str(report), *command],
            env={**os.environ, **_BYTECODE},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if result.returncode:
            sys.stderr.buffer.write(result.stdout)
            result.check_returncode()
        return Usage(**json.loads(report.read_text()))


def main() -> None:
    """Run the command in ``sys.argv[2:]``, and write its :class:`Usage` to ``sys.argv[1]``."""
    start = time.perf_counter()
    process = subprocess.Popen(sys.argv[2:])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    Path(sys.argv[1]).write_text(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak}))
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
