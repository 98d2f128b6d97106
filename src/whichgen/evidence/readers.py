"""Run several evidence readers and continue after errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from whichgen.evidence.finding import Evidence, Finding

#: Function that reads the evidence in one part of a file.
Reader = Callable[[], Evidence]


def run_readers(readers: Iterable[tuple[str, Reader]]) -> Evidence:
    """Run readers in order and merge their evidence without duplicate findings.

    Parameters
    ----------
    readers
        Name of each part of the file and its reader. If a reader raises an exception, the name and
        the error are added to the notes.
    """
    findings: dict[Finding, None] = {}  # ordered set
    notes: list[str] = []
    for part, read in readers:
        try:
            evidence = read()
        except Exception as error:  # parsers raise many types on hostile bytes
            notes.append(f"{part} can't be read ({type(error).__name__}: {error})")
            continue
        findings |= dict.fromkeys(evidence.findings)
        notes += evidence.notes
    return Evidence(tuple(findings), tuple(dict.fromkeys(notes)))
