"""Divide the images of a published benchmark that has no annotation files into splits.

The origin of an image is determined by the folder names of the published archives, which may be at
any depth. The images of each origin are divided once, for all benchmark splits:

- If some of the images are in folders ``train`` and ``val`` (GenImage), the images in ``train`` are
  the training set. One half of the images in ``val`` is the validation set, and the other half is
  the test set.
- If there is also a folder ``test`` (DiffusionForensics), the folders are the splits.
- If no image is in such a folder (OSMA), 80 % of the images are for training, 10 % for validation
  and 10 % for testing.

In the first two cases, images outside these folders are not used. Images are selected at random.
The images that are selected for an origin depend on the seed, but not on the other origins or on
the location of the folder.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whichgen.constants import REAL
from whichgen.data.benchmarks.origin_lists import (
    BenchmarkOrigins,
    SplitOrigins,
    load_bundled_origins,
)
from whichgen.data.dataset import Dataset, Sample, list_images
from whichgen.data.layouts.folder_names import find_split
from whichgen.defaults import SAMPLES_PER_CLASS
from whichgen.errors import DataError
from whichgen.option_names import name_option
from whichgen.phrases import format_count, join_names

#: Parts into which the images of each origin are divided.
_PARTS = ("train", "val", "test")

#: Fraction of training images if an origin has no folders of splits.
_TRAIN_FRACTION = 0.8

#: File names of ImageNet's images. The folders of several generators can contain the same
#: photograph, which is used only once.
_IMAGENET_NAME = re.compile(r"(n\d{8}_\d+|ILSVRC2012_\w+)", re.IGNORECASE)


@dataclass(frozen=True)
class PreparedBenchmark:
    """Splits of a benchmark, created from a folder of its images.

    Parameters
    ----------
    origins
        The bundled list of origins.
    splits
        Maps the name of each benchmark split that is not omitted to its dataset.
    notes
        Sentences about missing origins, omitted splits, omitted images and small splits.
    """

    origins: BenchmarkOrigins
    splits: dict[str, Dataset]
    notes: tuple[str, ...]


def prepare_benchmark(
    name: str, folder: Path, *, samples_per_class: int = SAMPLES_PER_CLASS, seed: int = 0
) -> PreparedBenchmark:
    """Divide the images of a benchmark into train, val and test.

    The images are divided once, for all benchmark splits (divisions of the origins into known and
    unknown origins).

    Parameters
    ----------
    name
        Name of a benchmark with a bundled list of origins
        (:func:`~whichgen.data.benchmarks.origin_lists.list_benchmarks`); case-insensitive.
    folder
        Folder that contains the extracted archives.
    samples_per_class
        Maximum number of images per origin in each of train, val and test; 0 for no limit.
    seed
        Random seed for selecting the images; not negative.

    Returns
    -------
    PreparedBenchmark
        The benchmark splits whose known origins all have images in train, val and test.

    Raises
    ------
    DataError
        ``name`` is not in the list, the folder does not exist, or every benchmark split has a known
        origin with too few images in the folder.

    Warns
    -----
    WhichgenWarning
        Files or folders are skipped (:func:`~whichgen.data.dataset.list_images`).
    """
    benchmark = load_bundled_origins(name)
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder. Specify the folder of the images of {benchmark.name}."
        )
    images, unmatched_folders = _find_images(folder, benchmark)
    parts = {
        origin: _divide(images_by_split, samples_per_class, (seed, zlib.crc32(origin.encode())))
        for origin, images_by_split in images.items()
    }
    limit = f"at most {samples_per_class} images per class in each split"
    notice = (
        f"These splits were made by `whichgen dataset prepare {benchmark.name}` (seed {seed}, "
        f"{limit if samples_per_class else 'all images'}), not by the authors of the benchmark"
    )
    splits: dict[str, Dataset] = {}
    notes: list[str] = []
    for split, origins in benchmark.splits.items():
        missing_known = [
            o for o in origins.known if not all(parts.get(o, {}).get(p) for p in _PARTS)
        ]
        if missing_known:
            notes.append(f"{split} omitted: too few or no images of {join_names(missing_known)}")
        else:
            splits[split] = _make_dataset(f"{benchmark.name}:split={split}", origins, parts, notice)
    if not splits:
        counts = ", ".join(
            f"{origin} ({sum(map(len, images[origin].values()))})" for origin in sorted(images)
        )
        examples = [names[-1] for o, names in benchmark.image_folders.items() if o != REAL]
        raise DataError(
            f"{folder} has too few images for any split of {benchmark.name} (images found: "
            f"{counts or 'none'}; {notes[0]}). Specify the folder of the extracted archives, which "
            f"contains folders such as {join_names(examples, 3)}, or use the images without these "
            f"splits: {name_option(f'--data {folder}')}"
        )
    origins_in_use = [o for split in splits for o in (*splits[split].known, *splits[split].unknown)]
    if missing_unknown := [
        origin for origin in dict.fromkeys(origins_in_use) if origin not in images
    ]:
        notes.append(f"no images of the unknown origins {join_names(missing_unknown)}")
    notes += _list_shortfalls(parts, samples_per_class)
    if unmatched_folders:
        notes.append(
            f"{format_count(unmatched_folders.total(), 'image')} omitted, because their folders "
            f"do not denote an origin of {benchmark.name}: {join_names(sorted(unmatched_folders))}"
        )
    return PreparedBenchmark(benchmark, splits, tuple(notes))


def _find_images(
    folder: Path, benchmark: BenchmarkOrigins
) -> tuple[dict[str, dict[str, list[Path]]], Counter[str]]:
    """Find the images of each origin by the names of their folders.

    Copies of a photograph of ImageNet are omitted.

    Returns
    -------
    dict
        ``images[origin][split]`` is the list of the origin's images in folders of the split
        (``train``, ``val`` or ``test``). ``images[origin][""]`` is the list of the origin's images
        that are not in such a folder.
    Counter
        Number of images without an origin in each folder that has such images.
    """
    patterns = [
        (origin, tuple(map(_normalize, name.split("/"))))
        for origin in sorted(benchmark.image_folders, key=lambda origin: origin != REAL)
        for name in benchmark.image_folders[origin]
    ]
    images: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    unmatched_folders: Counter[str] = Counter()
    labels: dict[tuple[str, ...], tuple[str, str]] = {}
    photographs: set[str] = set()
    for path in list_images(folder):
        parts = path.relative_to(folder).parts[:-1]
        if parts not in labels:
            split = next(filter(None, map(find_split, parts)), "")
            labels[parts] = _find_origin(parts, patterns), split
        origin, split = labels[parts]
        if not origin:
            unmatched_folders["/".join(parts) or "."] += 1
            continue
        if origin == REAL and _IMAGENET_NAME.match(path.name):
            if path.stem.lower() in photographs:
                continue
            photographs.add(path.stem.lower())
        images[origin][split].append(path)
    return images, unmatched_folders


def _normalize(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _find_origin(parts: Sequence[str], patterns: Iterable[tuple[str, tuple[str, ...]]]) -> str:
    """Return the first origin with a pattern that occurs in the path of a folder.

    The string is empty if there is no such origin.
    """
    names = tuple(map(_normalize, parts))
    for origin, pattern in patterns:
        starts = range(len(names) - len(pattern) + 1)
        if any(names[i : i + len(pattern)] == pattern for i in starts):
            return origin
    return ""


def _divide(
    images_by_split: Mapping[str, Sequence[Path]], limit: int, seed: Sequence[int]
) -> dict[str, list[Path]]:
    """Return the images of an origin for train, val and test, in random order.

    ``images_by_split[split]`` are the images in the folder of a split, and ``images_by_split[""]``
    are the images that are not in the folder of a split; the latter are used only if there are no
    others. ``limit`` is the maximum number of images in each of train, val and test; 0 for no
    limit.
    """
    rng = np.random.default_rng(seed)
    shuffled_images = {
        split: [images_by_split[split][i] for i in rng.permutation(len(images_by_split[split]))]
        for split in ("", *_PARTS)
        if split in images_by_split
    }
    parts = {part: shuffled_images.get(part, []) for part in _PARTS}
    if not any(parts.values()):
        images = shuffled_images[""]
        # Leave one image each for validation and testing.
        n_train = min(int(_TRAIN_FRACTION * len(images)), max(len(images) - 2, 0))
        parts |= {"train": images[:n_train], "val": images[n_train:]}
    if not parts["test"]:
        half = (len(parts["val"]) + 1) // 2
        parts |= {"val": parts["val"][:half], "test": parts["val"][half:]}
    return {part: images[: limit or None] for part, images in parts.items()}


def _make_dataset(
    name: str,
    origins: SplitOrigins,
    parts: Mapping[str, Mapping[str, Sequence[Path]]],
    note: str,
) -> Dataset:
    def select(part: str, names: Sequence[str]) -> tuple[Sample, ...]:
        return tuple(Sample(p, o) for o in names for p in parts.get(o, {}).get(part, ()))

    unknown = origins.unknown["all"]
    return Dataset(
        name=name,
        known=origins.known,
        unknown=unknown,
        train=select("train", origins.known),
        val=select("val", origins.known),
        test=select("test", origins.known),
        val_unknown=select("val", unknown),
        test_unknown=select("test", unknown),
        unknown_groups={k: v for k, v in origins.unknown.items() if k != "all"},
        notes=(note,),
    ).validate()


def _list_shortfalls(parts: Mapping[str, Mapping[str, Sequence[Path]]], limit: int) -> list[str]:
    """Return a note for each of train, val and test in which some origins have few images.

    The note lists the origins that have at least one image but fewer than ``limit``.
    """
    notes = []
    for part in _PARTS:
        counts = {o: len(p[part]) for o, p in sorted(parts.items()) if 0 < len(p[part]) < limit}
        if counts:
            listing = join_names(f"{origin} {n}" for origin, n in counts.items())
            notes.append(f"fewer than {limit} {part} images: {listing}")
    return notes
