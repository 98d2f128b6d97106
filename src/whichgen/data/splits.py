"""Seeded splits of a folder of folders into train, validation and test.

No image, no near-duplicate and no given group (a prompt, a photographer, a video) lies on two
sides. A group that holds a known origin's image goes to one part as a whole, by the fractions
asked for; images of unknown origins in it follow, and are left out where that part has no place
for them. A group of unknown images alone goes to the part that tests its generator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from whichgen.data.dataset import Dataset, Sample, list_images
from whichgen.data.duplicates import (
    NEAR_DISTANCE,
    find_components,
    find_near_duplicates,
    fingerprint_images,
)
from whichgen.errors import DataError
from whichgen.progress import Progress, no_progress

_KNOWN_PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class SplitOptions:
    """How a folder of folders becomes a data set.

    Parameters
    ----------
    unknown
        Origins to hold out from training.
    unknown_val
        Those of ``unknown`` that validation uses; test has the rest. Empty: a seeded half of them
        where there are two or more, else none. With ``share_unknown`` both use all of them.
    fractions
        Shares of train, validation and test among known images.
    groups
        A group name for an image path relative to the folder; images of one group stay together.
    near_distance
        Bits by which perceptual hashes of near-duplicates differ at most; -1 switches this off.
    """

    unknown: tuple[str, ...] = ()
    unknown_val: tuple[str, ...] = ()
    share_unknown: bool = False
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    groups: Mapping[str, str] | None = None
    near_distance: int = NEAR_DISTANCE
    seed: int = 0


def list_origins(folder: Path) -> dict[str, list[Path]]:
    """The images of each origin: every direct sub-folder that holds images is an origin."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Give a folder with one sub-folder an origin.")
    subfolders = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    origins = {p.name: images for p in subfolders if (images := list_images(p))}
    if not origins:
        raise DataError(
            f"{folder} has no sub-folder with images. Put each origin's images in a folder of its "
            f"own: {folder}/real/…, {folder}/some_generator/…"
        )
    return origins


def split_folder(
    folder: Path, options: SplitOptions, *, progress: Progress = no_progress
) -> Dataset:
    """Splits a folder of folders; the same folder, options and seed give the same split.

    Raises
    ------
    DataError
        An origin named as unknown is not there, fractions do not sum to 1, or a known origin has
        too few images to be in every part.
    """
    origins = list_origins(folder)
    _check(folder, origins, options)
    samples = [Sample(path, origin) for origin, paths in origins.items() for path in paths]
    fingerprints = fingerprint_images([s.path for s in samples], progress=progress)
    unreadable = [f.error for f in fingerprints if f.error]
    readable = [i for i, f in enumerate(fingerprints) if not f.error]
    samples = [samples[i] for i in readable]
    fingerprints = [fingerprints[i] for i in readable]

    links = (
        list(find_near_duplicates(fingerprints, options.near_distance))
        if options.near_distance >= 0
        else []
    )
    if options.groups is not None:
        samples = [_grouped(sample, folder, options.groups) for sample in samples]
        links += _group_links(samples)
    groups = find_components(len(samples), links)

    known = tuple(o for o in origins if o not in options.unknown)
    parts = _assign(samples, groups, known, options)
    taken = sum(len(p) for p in parts.values())
    notes = []
    if unreadable:
        notes.append(f"{len(unreadable)} unreadable files left out, the first: {unreadable[0]}")
    if taken < len(samples):
        notes.append(
            f"{len(samples) - taken} images of unknown origins left out: their group or "
            "near-duplicate is in a part where their generator is not tested"
        )
    return Dataset(
        name=folder.name,
        known=("real", *(o for o in known if o != "real")) if "real" in known else known,
        unknown=tuple(o for o in origins if o in options.unknown),
        train=tuple(parts["train"]),
        val=tuple(parts["val"]),
        test=tuple(parts["test"]),
        val_unknown=tuple(parts["val_unknown"]),
        test_unknown=tuple(parts["test_unknown"]),
        notes=tuple(notes),
    ).validate()


def split_unknown_origins(options: SplitOptions) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The unknown origins of validation and of test."""
    if options.share_unknown:
        return options.unknown, options.unknown
    val = options.unknown_val
    if not val and len(options.unknown) > 1:
        order = np.random.default_rng(options.seed).permutation(sorted(options.unknown))
        val = tuple(str(o) for o in order[: len(order) // 2])
    return val, tuple(o for o in options.unknown if o not in val)


def _check(folder: Path, origins: Mapping[str, Sequence[Path]], options: SplitOptions) -> None:
    missing = [o for o in (*options.unknown, *options.unknown_val) if o not in origins]
    if missing:
        raise DataError(
            f"{folder} has no origin {', '.join(missing)}; it has {', '.join(origins)}."
        )
    stray = [o for o in options.unknown_val if o not in options.unknown]
    if stray:
        raise DataError(f"{', '.join(stray)}: for validation's unknown origins but not in unknown.")
    if min(options.fractions) <= 0 or abs(sum(options.fractions) - 1) > 1e-9:
        raise DataError(f"fractions {options.fractions} must be positive and sum to 1.")


def _grouped(sample: Sample, folder: Path, groups: Mapping[str, str]) -> Sample:
    relative = sample.path.relative_to(folder).as_posix()
    if relative not in groups:
        raise DataError(
            f"the groups file has no line for {relative}. Paths in it are relative to {folder}."
        )
    return replace(sample, group=groups[relative])


def _group_links(samples: Sequence[Sample]) -> list[tuple[int, int]]:
    first: dict[str, int] = {}
    return [(first.setdefault(sample.group, i), i) for i, sample in enumerate(samples)]


def _assign(
    samples: Sequence[Sample],
    groups: np.ndarray,
    known: Sequence[str],
    options: SplitOptions,
) -> dict[str, list[Sample]]:
    unknown_val, unknown_test = (set(roles) for roles in split_unknown_origins(options))
    members: dict[int, list[int]] = {}
    for i, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(i)
    rng = np.random.default_rng(options.seed)
    # Large groups first, so that small ones can even the parts out; else in seeded order.
    order = sorted(rng.permutation(sorted(members)).tolist(), key=lambda g: -len(members[g]))
    totals = Counter(s.origin for s in samples)
    assigned: dict[str, Counter[str]] = {part: Counter() for part in _KNOWN_PARTS}
    chosen: list[str | None] = [None] * len(samples)
    for group in order:
        counts = Counter(samples[i].origin for i in members[group])
        if not set(counts) & set(known):
            home = _home_of_unknown(counts, unknown_val, unknown_test, assigned, totals)
        else:
            # The part that is furthest behind its share of the origins in this group.
            home = max(
                _KNOWN_PARTS,
                key=lambda part: sum(
                    n * (_share(part, options) - assigned[part][o] / totals[o])
                    for o, n in counts.items()
                    if o in known
                ),
            )
        assigned[home].update(counts)
        for i in members[group]:
            chosen[i] = _part_of(samples[i].origin, home, known, unknown_val, unknown_test)
    parts: dict[str, list[Sample]] = {p: [] for p in (*_KNOWN_PARTS, "val_unknown", "test_unknown")}
    for sample, part in zip(samples, chosen, strict=True):
        if part is not None:
            parts[part].append(sample)
    return parts


def _share(part: str, options: SplitOptions) -> float:
    return options.fractions[_KNOWN_PARTS.index(part)]


def _home_of_unknown(
    counts: Counter[str],
    unknown_val: set[str],
    unknown_test: set[str],
    assigned: Mapping[str, Counter[str]],
    totals: Counter[str],
) -> str:
    in_val = sum(n for o, n in counts.items() if o in unknown_val)
    in_test = sum(n for o, n in counts.items() if o in unknown_test)
    if in_val != in_test:
        return "val" if in_val > in_test else "test"

    def filled(part: str) -> float:
        return sum(assigned[part][o] / totals[o] for o in counts)

    return "val" if filled("val") < filled("test") else "test"


def _part_of(
    origin: str, home: str, known: Sequence[str], unknown_val: set[str], unknown_test: set[str]
) -> str | None:
    if origin in known:
        return home
    if home == "val" and origin in unknown_val:
        return "val_unknown"
    if home == "test" and origin in unknown_test:
        return "test_unknown"
    return None
