"""Run evidence readers, and continue with the next reader after an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from whichgen.errors import ImageError
from whichgen.evidence.finding import Evidence, Finding

#: Function that reads the evidence in one part of a file.
Reader = Callable[[], Evidence]


def run_readers(readers: Iterable[tuple[str, Reader]]) -> Evidence:
    """Run readers in order and merge their evidence without duplicate findings.

    Parameters
    ----------
    readers
        Name of each part of the file, and its reader. If a reader raises an exception, a note says
        which part can't be read, and why. The message of an :class:`~whichgen.errors.ImageError`
        becomes this note without the name of the part.

    Returns
    -------
    Evidence
        The distinct findings and notes of all readers, in order.
    """
    findings: dict[Finding, None] = {}  # ordered set
    notes: list[str] = []
    for part, read in readers:
        try:
            evidence = read()
        except ImageError as error:  # its message is a complete note
            notes.append(str(error))
            continue
        except Exception as error:  # parsers may raise any exception on hostile bytes
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            notes.append(f"{part} can't be read ({reason})")
            continue
        findings |= dict.fromkeys(evidence.findings)
        notes += evidence.notes
    return Evidence(tuple(findings), tuple(dict.fromkeys(notes)))
