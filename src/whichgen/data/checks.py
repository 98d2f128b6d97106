"""Is a data set fit to learn from? Counts, broken and doubled files, and give-aways.

A give-away is a property of the file rather than of the picture that tells an origin apart: one
class all PNG and another all JPEG, or one class of one size. A classifier learns it instead of the
generator's traces, and its figures mean nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from whichgen.data.dataset import Sample
from whichgen.data.duplicates import Fingerprint, find_near_duplicates, fingerprint_images
from whichgen.progress import Progress, no_progress

#: A property held by this share of one origin's images and hardly by another's is a give-away.
_TELLING = 0.9


@dataclass(frozen=True)
class OriginCheck:
    """What one origin's files are like."""

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

    ``warnings`` are give-aways and label conflicts; ``errors`` the reasons of unreadable files.
    ``ok`` is false when anything needs a human's eye before training.
    """

    origins: tuple[OriginCheck, ...]
    exact_duplicates: int
    near_duplicates: int
    warnings: tuple[str, ...]
    errors: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """No warning and no unreadable file."""
        return not self.warnings and not self.errors


def check_samples(samples: Sequence[Sample], *, progress: Progress = no_progress) -> CheckReport:
    """Reads every file once and reports on it."""
    prints = fingerprint_images([s.path for s in samples], progress=progress)
    by_origin: dict[str, list[Fingerprint]] = defaultdict(list)
    for sample, found in zip(samples, prints, strict=True):
        by_origin[sample.origin].append(found)
    rows = tuple(_origin_row(origin, found) for origin, found in by_origin.items())
    readable = [(s, f) for s, f in zip(samples, prints, strict=True) if not f.error]
    digests: dict[bytes, dict[str, Sample]] = defaultdict(dict)
    for sample, found in readable:
        digests[found.digest].setdefault(sample.origin, sample)
    near = sum(
        1
        for i, j in find_near_duplicates([f for _, f in readable])
        if readable[i][1].digest != readable[j][1].digest
    )
    warnings = [
        f"LABEL CONFLICT: the same file is labeled {' and '.join(sorted(origins))}: "
        + ", ".join(str(origins[o].path) for o in sorted(origins))
        for origins in digests.values()
        if len(origins) > 1
    ]
    for name in ("formats", "sizes", "modes"):
        warnings += _giveaways(name.removesuffix("s"), {r.origin: getattr(r, name) for r in rows})
    return CheckReport(
        origins=rows,
        exact_duplicates=len(readable) - len(digests),
        near_duplicates=near,
        warnings=tuple(warnings),
        errors=tuple(f.error for f in prints if f.error),
    )


def _origin_row(origin: str, found: Sequence[Fingerprint]) -> OriginCheck:
    missing = sum(f.error.endswith("no such file") for f in found)
    good = [f for f in found if not f.error]
    return OriginCheck(
        origin=origin,
        images=len(found),
        missing=missing,
        unreadable=len(found) - len(good) - missing,
        formats=dict(Counter(f.format for f in good).most_common()),
        sizes=dict(Counter(f"{f.size[0]}x{f.size[1]}" for f in good).most_common()),
        modes=dict(Counter(f.mode for f in good).most_common()),
    )


def _giveaways(name: str, counts: dict[str, dict[str, int]]) -> list[str]:
    warnings = []
    for origin, values in counts.items():
        total = sum(values.values())
        if not total:
            continue
        value, n = next(iter(values.items()))
        if n < _TELLING * total:
            continue
        others = [
            other
            for other, theirs in counts.items()
            if other != origin
            and theirs
            and theirs.get(value, 0) <= (1 - _TELLING) * sum(theirs.values())
        ]
        if others:
            warnings.append(
                f"GIVE-AWAY: {n} of {total} images of {origin} have {name} {value}, and "
                f"(nearly) none of {', '.join(others)}: a classifier can cheat on that. "
                f"Bring all origins to one {name} before you trust a figure."
            )
    return warnings
