"""Datasets: image paths with their origins, in five splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from whichgen.data.formats import IMAGE_SUFFIXES
from whichgen.errors import DataError
from whichgen.io.files import list_files

#: Names of the splits, in the order in which results list them.
SPLITS = ("train", "val", "val_unknown", "test", "test_unknown")


@dataclass(frozen=True)
class Sample:
    """An image file with its true origin.

    Images of one ``group`` (a prompt, a scene, a person) are not independent; an empty group means
    that it is not known.
    """

    path: Path
    origin: str
    group: str = ""


@dataclass(frozen=True)
class Dataset:
    """A dataset for open-set attribution.

    Parameters
    ----------
    name
        Name in reports.
    known
        Origins seen in training; their order is the class index of every head.
    unknown
        Origins held out from training.
    train, val, test
        Images of known origins.
    val_unknown, test_unknown
        Images of unknown origins, for model selection and for the final evaluation.
    unknown_groups
        Named subsets of ``unknown`` that are evaluated separately (OSMA: seed, arch, dataset).
    families
        Families of origins that override those of :mod:`whichgen.data.families`.
    notes
        Sentences for readers of the results, such as what was left out and why.
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
        """Return the samples of a split, one of :data:`SPLITS`."""
        samples: tuple[Sample, ...] = getattr(self, name)
        return samples

    def validate(self) -> Dataset:
        """Return the dataset, or raise :class:`DataError` if it lacks origins or images."""
        if len(set(self.known)) != len(self.known) or len(self.known) < 2:
            raise DataError(
                f"{self.name}: attribution needs at least two different known origins, "
                f"got {list(self.known)}. Add a folder of images of another origin."
            )
        overlap = set(self.known) & set(self.unknown)
        if overlap:
            raise DataError(f"{self.name}: {sorted(overlap)} are both known and unknown.")
        for name in ("train", "val", "test"):
            counts = Counter(s.origin for s in self.split(name))
            empty = [origin for origin in self.known if not counts[origin]]
            if empty:
                raise DataError(
                    f"{self.name}: no {name} image of {', '.join(empty)}. Every known origin needs "
                    f"images in train, val and test; add images or leave the origin out."
                )
        return self


def list_images(folder: Path) -> list[Path]:
    """List image files below a folder in natural order, without hidden files and folders."""
    return list_files(folder, IMAGE_SUFFIXES)


def limit_per_class(dataset: Dataset, limit: int) -> Dataset:
    """Keep the first ``limit`` samples per class in each split."""
    splits = {}
    for name in SPLITS:
        numbers: dict[str, Iterator[int]] = defaultdict(count)
        splits[name] = tuple(s for s in dataset.split(name) if next(numbers[s.origin]) < limit)
    return replace(dataset, **splits)  # type: ignore[arg-type]
