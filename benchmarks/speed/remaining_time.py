"""Where the time of a training command goes: a profile of its main process."""

from __future__ import annotations

import pstats
import sys
from pathlib import Path

from processes import measure

from whichgen.io.result_files import Row

#: Functions that take less than this share of the time are left out.
_MIN_SHARE = 0.02

#: Maximum number of rows.
_MAX_ROWS = 14


def profile_rows(arguments: list[str], file: Path) -> list[Row]:
    """Run ``whichgen`` under cProfile and list functions by the time in them and their callees.

    Only functions of whichgen behind the command line are listed, and of several that take the same
    time, the first. Worker processes are not profiled: waiting for them counts.
    """
    # The program's own name, because cProfile can't run the module `whichgen` as a command.
    code = "import sys; from whichgen.cli.app import main; sys.argv[0] = 'whichgen'; main()"
    program = file.with_suffix(".py")
    program.write_text(code)
    measure([sys.executable, "-m", "cProfile", "-o", str(file), str(program), *arguments])
    stats = pstats.Stats(str(file))
    entries = [
        (cumulative, calls, _name(Path(path), function))
        for (path, _, function), (_, calls, _, cumulative, _) in stats.stats.items()  # type: ignore[attr-defined]
        if "/whichgen/" in path and "/whichgen/cli/" not in path and not function.startswith("<")
    ]
    total = stats.total_tt  # type: ignore[attr-defined]
    rows: list[Row] = []
    previous = float("inf")
    for cumulative, calls, name in sorted(entries, reverse=True):
        if cumulative < _MIN_SHARE * total or len(rows) == _MAX_ROWS:
            break
        if previous - cumulative < _MIN_SHARE * total / 4:  # the caller of this one
            continue
        previous = cumulative
        rows.append(
            {
                "function": name,
                "calls": calls,
                "seconds with callees": f"{cumulative:.1f}",
                "share": f"{100 * cumulative / total:.0f} %",
            }
        )
    return rows


def _name(path: Path, function: str) -> str:
    parts = path.with_suffix("").parts
    package = parts[len(parts) - parts[::-1].index("whichgen") :]
    return f"{'.'.join(package)}.{function}"
