"""Profile the main process of a training command."""

from __future__ import annotations

import pstats
import sys
from pathlib import Path

from processes import measure

from whichgen.io.result_files import Row

#: Functions with a smaller share of the total time are omitted.
_MIN_SHARE = 0.02

#: Maximum number of rows.
_MAX_ROWS = 14


def profile_rows(arguments: list[str], file: Path) -> list[Row]:
    """Profile a command, and return its functions by total time, including their callees.

    Only functions of whichgen outside :mod:`whichgen.cli` are listed. If a function and its caller
    take nearly the same time, only the caller is listed. Worker processes are not profiled; the
    time of waiting for them is included.

    Parameters
    ----------
    arguments
        Arguments of the program ``whichgen``.
    file
        File for the profile; a program with the same name and the suffix ``.py`` is also written.
    """
    # cProfile can't run the module `whichgen` as a command.
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
        if previous - cumulative < _MIN_SHARE * total / 4:  # the previous row is the caller
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
