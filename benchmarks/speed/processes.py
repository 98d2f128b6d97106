"""Time and peak memory of a command, with all its processes.

Run as a program, it starts the command and writes its use of resources: a process inherits the peak
memory of the one that starts it, so that must be a small one.
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

#: Processes find compiled bytecode, as after `pip install`, whatever this environment says.
_BYTECODE = {
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONPYCACHEPREFIX": str(Path(gettempdir()) / "whichgen-bytecode"),
}


@dataclass(frozen=True)
class Usage:
    """What a command took.

    Parameters
    ----------
    seconds
        Time from start to end.
    cpu
        User and system time of all its processes in seconds.
    peak
        Peak memory of its largest process in MiB.
    """

    seconds: float
    cpu: float
    peak: float


def measure(command: Sequence[str]) -> Usage:
    """Run a command; its output is shown only if it fails.

    Raises
    ------
    subprocess.CalledProcessError
        The command fails.
    """
    with TemporaryDirectory() as folder:
        report = Path(folder) / "usage.json"
        done = subprocess.run(
            [sys.executable, __file__, str(report), *command],
            env={**os.environ, **_BYTECODE},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            sys.stderr.buffer.write(done.stdout)
            done.check_returncode()
        return Usage(**json.loads(report.read_text()))


def main() -> None:
    """Run the command in the arguments, behind the name of the report."""
    start = time.perf_counter()
    process = subprocess.Popen(sys.argv[2:])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    found = {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime}
    Path(sys.argv[1]).write_text(json.dumps({**found, "peak": usage.ru_maxrss / 1024}))
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
