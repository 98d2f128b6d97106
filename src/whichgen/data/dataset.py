"""What a data set is: image paths with their origins, in five parts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from whichgen.errors import DataError

#: Suffixes that count as images when a folder is listed (content, not suffix, decides at reading).
IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

#: The part names, in the order in which results list them.
SPLITS = ("train", "val", "val_unknown", "test", "test_unknown")


@dataclass(frozen=True)
class Sample:
    """One image file and the origin it is labeled with.

    Images of one ``group`` show the same (a prompt, a scene, a person) and are not independent;
    empty: not known.
    """

    path: Path
    origin: str
    group: str = ""


@dataclass(frozen=True)
class Dataset:
    """An open-set attribution task.

    Parameters
    ----------
    known
        Origins seen in training; their order is the class index of every head.
    unknown
        Origins that no head is trained on.
    train, val, test
        Images of known origins.
    val_unknown, test_unknown
        Images of unknown origins, for choosing and for reporting.
    unknown_groups
        Named subsets of ``unknown`` that are reported on their own (OSMA: seed, arch, dataset).
    families
        Families of origins that the table of :mod:`whichgen.data.families` lacks or has otherwise.
    notes
        Sentences a reader of the results must know (what was left out and why).
    """

    name: str
    known: tuple[str, ...]
    unknown: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    val_unknown: tuple[Sample, ...] = ()
    test_unknown: tuple[Sample, ...] = ()
    unknown_groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    families: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def split(self, name: str) -> tuple[Sample, ...]:
        """The samples of one of :data:`SPLITS`."""
        samples: tuple[Sample, ...] = getattr(self, name)
        return samples

    def map_splits(self, change: Callable[[tuple[Sample, ...]], tuple[Sample, ...]]) -> Dataset:
        """The data set with each part changed by a function."""
        return replace(
            self,
            train=change(self.train),
            val=change(self.val),
            val_unknown=change(self.val_unknown),
            test=change(self.test),
            test_unknown=change(self.test_unknown),
        )

    def validate(self) -> Dataset:
        """Returns itself, or raises :class:`DataError` saying which origin or part falls short."""
        if len(set(self.known)) != len(self.known) or len(self.known) < 2:
            raise DataError(
                f"{self.name}: attribution needs at least two different known origins, "
                f"got {list(self.known)}. Add a folder of images of another origin."
            )
        both = set(self.known) & set(self.unknown)
        if both:
            raise DataError(f"{self.name}: {sorted(both)} are listed both as known and unknown.")
        for part in ("train", "val", "test"):
            counts = Counter(s.origin for s in self.split(part))
            empty = [origin for origin in self.known if not counts[origin]]
            if empty:
                raise DataError(
                    f"{self.name}: no {part} image of {', '.join(empty)}. Every known origin needs "
                    f"images in train, val and test; add images or leave the origin out."
                )
        return self


def natural_key(text: str) -> list[int | str]:
    """Sort key under which ``img2`` comes before ``img10``."""
    return [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", text)]


def list_images(folder: Path) -> list[Path]:
    """All image files below ``folder`` in natural order, without hidden files and folders."""
    return list_files(folder, IMAGE_SUFFIXES)


def list_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """As :func:`list_images`, files of other suffixes (lower case, with their dot)."""
    found = [
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in p.relative_to(folder).parts)
        and p.is_file()
    ]
    return sorted(found, key=lambda p: [natural_key(part) for part in p.relative_to(folder).parts])


def _limit_samples(samples: tuple[Sample, ...], most: int | None) -> tuple[Sample, ...]:
    """The first ``most`` samples of each origin, in the order given (``None`` or 0: all)."""
    if not most:
        return samples
    seen: Counter[str] = Counter()
    kept = []
    for sample in samples:
        seen[sample.origin] += 1
        if seen[sample.origin] <= most:
            kept.append(sample)
    return tuple(kept)


def limit_per_class(dataset: Dataset, most: int | None) -> Dataset:
    """The data set with at most ``most`` images a class in each part."""
    return dataset.map_splits(lambda samples: _limit_samples(samples, most))
