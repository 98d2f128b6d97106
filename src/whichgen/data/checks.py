"""Check a dataset before training: counts, unreadable files, duplicates and shortcuts.

A shortcut is a property of the files, rather than of the pictures, that separates origins: one
class all PNG and another all JPEG, or one class of a single size. A classifier learns it instead of
the traces of the generator, and its metrics are meaningless.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from whichgen.data.dataset import Sample
from whichgen.data.duplicates import Fingerprint, find_near_duplicates, fingerprint_images
from whichgen.errors import ImageError
from whichgen.progress import Progress, no_progress

#: A property is a shortcut if at least this share of one origin's images has it, and at most
#: one minus this share of another's.
_SHORTCUT_SHARE = 0.9


@dataclass(frozen=True)
class OriginCheck:
    """Counts of one origin's files, in total and by format, size and color mode."""

    origin: str
    images: int
    missing: int
    unreadable: int
    formats: dict[str, int]
    sizes: dict[str, int]
    modes: dict[str, int]


@dataclass(frozen=True)
class CheckReport:
    """The result of :func:`check_samples`.

    Parameters
    ----------
    origins
        Counts per origin.
    exact_duplicates
        Number of files whose content occurs before.
    near_duplicates
        Number of pairs of different files with nearly equal perceptual hashes.
    warnings
        Shortcuts and label conflicts.
    errors
        Reasons why files are unreadable.
    """

    origins: tuple[OriginCheck, ...]
    exact_duplicates: int
    near_duplicates: int
    warnings: tuple[str, ...]
    errors: tuple[str, ...]


def check_samples(samples: Sequence[Sample], *, progress: Progress = no_progress) -> CheckReport:
    """Read every file once and report its format, duplicates and shortcuts."""
    fingerprints = fingerprint_images([s.path for s in samples], progress=progress)
    by_origin: dict[str, list[Fingerprint | ImageError]] = defaultdict(list)
    labels: dict[bytes, dict[str, Sample]] = defaultdict(dict)
    for sample, fingerprint in zip(samples, fingerprints, strict=True):
        by_origin[sample.origin].append(fingerprint)
        if isinstance(fingerprint, Fingerprint):
            labels[fingerprint.digest].setdefault(sample.origin, sample)
    readable = [f for f in fingerprints if isinstance(f, Fingerprint)]
    origins = tuple(_count_files(origin, group) for origin, group in by_origin.items())
    warnings = [
        f"LABEL CONFLICT: the same file is labeled {' and '.join(sorted(conflict))}: "
        + ", ".join(str(conflict[o].path) for o in sorted(conflict))
        for conflict in labels.values()
        if len(conflict) > 1
    ]
    for name in ("format", "size", "mode"):
        warnings += _find_shortcuts(name, {o.origin: getattr(o, f"{name}s") for o in origins})
    return CheckReport(
        origins=origins,
        exact_duplicates=len(readable) - len(labels),
        near_duplicates=sum(
            readable[i].digest != readable[j].digest for i, j in find_near_duplicates(readable)
        ),
        warnings=tuple(warnings),
        errors=tuple(str(f) for f in fingerprints if isinstance(f, ImageError)),
    )


def _count_files(origin: str, fingerprints: Sequence[Fingerprint | ImageError]) -> OriginCheck:
    readable = [f for f in fingerprints if isinstance(f, Fingerprint)]
    missing = sum(str(f).endswith("no such file") for f in fingerprints)
    return OriginCheck(
        origin=origin,
        images=len(fingerprints),
        missing=missing,
        unreadable=len(fingerprints) - len(readable) - missing,
        formats=dict(Counter(f.format for f in readable).most_common()),
        sizes=dict(Counter(f"{f.size[0]}x{f.size[1]}" for f in readable).most_common()),
        modes=dict(Counter(f.mode for f in readable).most_common()),
    )


def _find_shortcuts(name: str, counts: dict[str, dict[str, int]]) -> list[str]:
    """Return warnings about a property; ``counts``: files by value, most frequent first."""
    totals = {origin: sum(values.values()) for origin, values in counts.items() if values}
    limits = {origin: (1 - _SHORTCUT_SHARE) * total for origin, total in totals.items()}
    warnings = []
    for origin, total in totals.items():
        value, n = next(iter(counts[origin].items()))
        others = [other for other in totals if counts[other].get(value, 0) <= limits[other]]
        if n >= _SHORTCUT_SHARE * total and others:
            warnings.append(
                f"SHORTCUT: {n} of {total} images of {origin} have {name} {value}, and (almost) "
                f"none of {', '.join(others)}. A classifier can learn this instead of the origin; "
                f"convert all origins to the same {name}."
            )
    return warnings
