"""Datasets: image files and their origins, divided into five splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from whichgen.constants import REAL
from whichgen.data.images.formats import IMAGE_SUFFIXES
from whichgen.data.images.skipped_files import describe_skipped
from whichgen.data.origins.origin_names import validate_origin_names
from whichgen.errors import DataError
from whichgen.io.folder_listing import list_files

#: Names of the splits, in the order in which results list them.
SPLITS = ("train", "val", "val_unknown", "test", "test_unknown")


@dataclass(frozen=True, slots=True)
class Sample:
    """An image file with its true origin, its group and its source.

    Parameters
    ----------
    path
        Path of the file.
    origin
        True origin; empty if it is not known.
    group
        Name of the group; empty if it is not known. Images of one group have the same prompt, scene
        or person, so they are not statistically independent.
    source
        Website, repository or person that published the image; empty if it is not known. Images of
        one source share prompts, sizes and compression, so results on the sources of the training
        images do not apply to other sources.
    """

    path: Path
    origin: str
    group: str = ""
    source: str = ""


@dataclass(frozen=True)
class Dataset:
    """A dataset for open-set attribution.

    Parameters
    ----------
    name
        Name of the dataset in reports.
    known
        Origins in the training set; the index of an origin in this tuple is its class index.
    unknown
        Origins held out from training.
    train, val, test
        Images of known origins.
    val_unknown, test_unknown
        Images of unknown origins: ``val_unknown`` for model selection, ``test_unknown`` for the
        final evaluation.
    unknown_groups
        Maps the name of each subset of ``unknown`` to the origins in it. Each subset is evaluated
        separately, in addition to all unknown origins together. The subsets of OSMA are ``seed``,
        ``arch`` and ``dataset``.
    families
        Maps names of generators (see :func:`~whichgen.data.origins.families.read_families`) to
        families; takes precedence over the table of well-known generators in
        :mod:`whichgen.data.origins.families`.
    notes
        Sentences about the dataset that are shown with evaluation results, such as which images
        were omitted and why.
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
        """Return the samples of the split ``name``, one of :data:`SPLITS`."""
        samples: tuple[Sample, ...] = getattr(self, name)
        return samples

    def validate(self) -> Dataset:
        """Validate the origins, check that each known origin has images, and return the dataset.

        Raises
        ------
        DataError
            There are fewer than two known origins; a known origin occurs twice; an origin is both
            known and unknown; a name is invalid, or two names differ only in case or Unicode form
            (:func:`~whichgen.data.origins.origin_names.validate_origin_names`); or a known origin
            has no images in train, val or test.
        """
        validate_origin_names((*self.known, *self.unknown))
        check_known_origins(self.name, self.known)
        duplicates = [origin for origin, n in Counter(self.known).items() if n > 1]
        if duplicates:
            raise DataError(
                f"{self.name}: duplicate known origins: {', '.join(duplicates)}. "
                "List each origin once."
            )
        overlap = set(self.known) & set(self.unknown)
        if overlap:
            raise DataError(
                f"{self.name}: {', '.join(sorted(overlap))} can't be both known and unknown. "
                "List each origin once."
            )
        for name in ("train", "val", "test"):
            counts = Counter(s.origin for s in self.split(name))
            empty = [origin for origin in self.known if not counts[origin]]
            if empty:
                hint = f" If {self.name} is itself an origin, specify its parent folder."
                raise DataError(
                    f"{self.name}: no {name} images of {', '.join(empty)}. Every known origin "
                    "needs images in train, val and test; add images or remove the origin."
                    + (hint if REAL not in self.known else "")
                )
        return self


def check_known_origins(name: str, known: Sequence[str]) -> None:
    """Check that a dataset has at least two known origins.

    Parameters
    ----------
    name
        Name of the dataset in the error message.
    known
        Known origins of the dataset.

    Raises
    ------
    DataError
        The dataset has fewer than two known origins.
    """
    if len(known) < 2:
        raise DataError(
            f"{name}: attribution needs at least two known origins, got "
            f"{', '.join(known) or 'none'}. Add images of another origin, or hold out fewer "
            "origins as unknown."
        )


def make_missing_error(
    split: str, origins: Sequence[str], errors: Sequence[str], reason: str = ""
) -> DataError:
    """Create an error about known origins without a readable image in a split.

    Parameters
    ----------
    split
        Name of the split.
    origins
        The origins without a readable image.
    errors
        Error messages of the unreadable files; the first one becomes a part of the message.
    reason
        Beginning of the message.
    """
    first = f" (first unreadable file: {errors[0]})" if errors else ""
    return DataError(
        f"{reason}no readable {split} image of {', '.join(origins)}{first}. "
        "Add readable images; `whichgen dataset check` lists unreadable files."
    )


def list_images(folder: Path) -> list[Path]:
    """Return the paths of the image files in a folder and its subfolders, in natural order.

    A file is an image if it has the suffix of an image format; its content is not checked. Each
    path begins with ``folder``.

    Warns
    -----
    WhichgenWarning
        Other files or folders are skipped (:mod:`whichgen.io.folder_listing`).
    """
    return list_files(folder, IMAGE_SUFFIXES, describe_skipped)


def limit_per_class(dataset: Dataset, limit: int) -> Dataset:
    """Return a dataset with only the first ``limit`` samples of each origin in each split."""
    splits = {}
    for name in SPLITS:
        counters: dict[str, Iterator[int]] = defaultdict(count)
        splits[name] = tuple(s for s in dataset.split(name) if next(counters[s.origin]) < limit)
    return replace(dataset, **splits)  # type: ignore[arg-type]
