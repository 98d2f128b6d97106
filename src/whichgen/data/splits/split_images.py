"""Split a folder of images into training, validation and test sets, reproducibly.

Identical images, near-duplicates, images of one group (the same prompt, scene or person) and images
of one source (published by the same website, repository or person) are never divided between
training, validation and testing:

1. In a graph whose nodes are the images, edges connect near-duplicates (including identical images)
   and images of one group or source. The images are divided into the connected components of this
   graph.
2. A component with images of a known origin is assigned to train, val or test, whichever is
   furthest below its fraction. Images of unknown origins in the component are assigned to
   val_unknown if the component is in val, or to test_unknown if the component is in test. These
   images are omitted if the component is in train, or if their origin is not used in val_unknown or
   test_unknown, respectively.
3. A component with only images of unknown origins is assigned to val_unknown or test_unknown,
   whichever uses the origins of more of its images; in a tie, to the split with a smaller share of
   these origins' images. Images whose origin is not used in the split are omitted.

If the dataset folder has folders for train and for val or test, and the sources are not known,
steps 2 and 3 choose only from the splits that :mod:`whichgen.data.splits.predefined_splits` allows.

If the sources are known, the components are few and large. Therefore, the components of step 2 are
assigned jointly, so that the fractions of each origin are close to the requested fractions
(:mod:`whichgen.data.splits.split_balance`).
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from whichgen.constants import REAL
from whichgen.data.checks.duplicates import (
    NEAR_DISTANCE,
    find_components,
    link_near_duplicates,
)
from whichgen.data.dataset import SPLITS, Dataset, Sample, check_known_origins
from whichgen.data.images.image_reader import ImageReader
from whichgen.data.layouts.folder_layout import FolderLayout, check_origin_names, read_layout
from whichgen.data.splits.predefined_splits import (
    FolderSplits,
    check_folder_splits,
    find_folder_splits,
)
from whichgen.data.splits.split_balance import balance_splits
from whichgen.data.splits.split_options import SplitOptions, check_split_options
from whichgen.data.splits.unknown_origins import split_unknown_origins
from whichgen.errors import DataError, ImageError, WhichgenWarning
from whichgen.option_names import name_option
from whichgen.phrases import format_count
from whichgen.progress import Progress, no_progress

_KNOWN_SPLITS = ("train", "val", "test")


def read_samples(
    folder: Path,
    layout: FolderLayout,
    *,
    groups: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
) -> list[Sample]:
    """Return the images of a folder with their origins, groups and sources.

    Parameters
    ----------
    folder
        The dataset folder.
    layout
        Layout of the folder (:func:`~whichgen.data.layouts.folder_layout.read_layout`).
    groups, sources
        Map the path of each image, relative to the folder, to its group and to its source; ``None``
        if they are not known.

    Raises
    ------
    DataError
        ``groups`` or ``sources`` lacks an image.

    Warns
    -----
    WhichgenWarning
        Images directly in the dataset folder are skipped.
    """
    if layout.images_without_origin:
        warnings.warn(
            f"Skipped {format_count(len(layout.images_without_origin), 'image')} outside the "
            f"folders of origins in {folder}, such as {layout.images_without_origin[0].name}. "
            "Move each image to the folder of its origin.",
            WhichgenWarning,
            stacklevel=1,
        )
    paths = [(path, origin) for origin, paths in layout.origins.items() for path in paths]
    names = [path.relative_to(folder).as_posix() for path, _ in paths]
    group_names = _look_up(names, groups, "groups", folder)
    source_names = _look_up(names, sources, "sources", folder)
    return [
        Sample(path, origin, group=group, source=source)
        for (path, origin), group, source in zip(paths, group_names, source_names, strict=True)
    ]


def split_folder(
    folder: Path,
    options: SplitOptions,
    *,
    groups: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
    near_distance: int = NEAR_DISTANCE,
    reader: ImageReader | None = None,
    progress: Progress = no_progress,
) -> Dataset:
    """Divide a folder of images into the five splits of a dataset, reproducibly.

    Unreadable files, some images of unknown origins (see the module docstring), and images with a
    related image in the folder of an earlier split
    (:mod:`whichgen.data.splits.predefined_splits`) are omitted. ``Dataset.notes`` states the
    numbers of these files and images.

    Parameters
    ----------
    folder
        Folder with one subfolder of images per origin, or in another layout that
        :mod:`whichgen.data.layouts.folder_layout` recognizes.
    options
        Unknown origins, fractions, random seed and folders of photographs.
    groups, sources
        Map the path of each image, relative to the folder, to its group and to its source; ``None``
        if they are not known.
    near_distance
        Maximum Hamming distance, in bits, between the perceptual hashes of near-duplicates. If it
        is negative, near-duplicates and identical images may be divided between splits.
    reader
        Reads the images; by default, nothing is cached.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Returns
    -------
    Dataset
        The validated dataset. If ``real`` is a known origin, it is the first one; the other origins
        are in alphabetical order.

    Raises
    ------
    DataError
        The origins can't be determined (:func:`~whichgen.data.layouts.folder_layout.read_layout`);
        an option or the name of an origin is invalid
        (:func:`~whichgen.data.splits.split_options.check_split_options`); ``groups`` or ``sources``
        lacks an image; a known origin has images only in folders for val or test, fewer than three
        independent sources, or fewer than three sets of related images; there are fewer than two
        known origins; or a known origin has no images in train, val or test.
    StoreError
        The reader's cache can't be read or written.

    Warns
    -----
    WhichgenWarning
        Files are skipped.
    """
    layout = read_layout(folder, options.real)
    origins = layout.origins
    check_split_options(folder, origins, options)
    known = tuple(o for o in origins if o not in options.unknown)
    check_known_origins(folder.name, known)  # before the images are decoded
    samples = read_samples(folder, layout, groups=groups, sources=sources)
    split_by_path = {} if sources else layout.splits
    if split_by_path:
        check_folder_splits(folder, samples, split_by_path, known)
    _check_sources(samples, find_components(len(samples), _link_related(samples)), known)
    results = [
        image if isinstance(image, ImageError) else image.perceptual_hash
        for image in (reader or ImageReader()).read(samples, progress=progress)
    ]
    errors = [result for result in results if isinstance(result, ImageError)]
    samples = [s for s, result in zip(samples, results, strict=True) if isinstance(result, bytes)]
    hashes = [result for result in results if isinstance(result, bytes)]

    links = link_near_duplicates(hashes, near_distance) + _link_related(samples)
    components = find_components(len(samples), links)
    _check_sources(samples, components, known)
    if not sources:
        _check_components(samples, components.tolist(), known)

    folder_splits = FolderSplits()
    if split_by_path:
        folder_splits = find_folder_splits(samples, components.tolist(), split_by_path, known)
    n_omitted_related = len(folder_splits.omitted_indices)
    splits = _assign_splits(samples, components, known, options, folder_splits)
    n_omitted_unknown = (
        len(samples) - sum(len(split) for split in splits.values()) - n_omitted_related
    )
    notes = [*layout.notes, *check_origin_names(origins)]
    if layout.splits:
        notes.append(
            "The folders of splits are ignored, because each source must be in a single split"
            if sources
            else "The folders define the splits; the fractions are used only for splits without a "
            "folder, and for images outside the folders of splits"
        )
    if n_omitted_related:
        notes.append(
            f"{format_count(n_omitted_related, 'image')} omitted: a near-duplicate or an image of "
            "the same group is in the folder of an earlier split"
        )
    if errors:
        count = format_count(len(errors), "unreadable file")
        notes.append(f"{count} omitted. First error: {errors[0]}")
    if n_omitted_unknown:
        notes.append(
            f"{format_count(n_omitted_unknown, 'image')} of unknown origins omitted: their group"
            f"{', source' if sources else ', folder' if split_by_path else ''} or near-duplicate "
            "is in a split that does not use their origin"
        )
    return Dataset(
        name=folder.name,
        known=tuple(sorted(known, key=lambda o: o != REAL)),
        unknown=tuple(o for o in origins if o in options.unknown),
        notes=tuple(notes),
        **splits,  # type: ignore[arg-type]
    ).validate()


def _link_related(samples: Sequence[Sample]) -> list[tuple[int, int]]:
    """Return index pairs that connect the images within each group and within each source."""
    links: list[tuple[int, int]] = []
    for names in ([s.group for s in samples], [s.source for s in samples]):
        first: dict[str, int] = {}
        links += [(first.setdefault(name, i), i) for i, name in enumerate(names) if name]
    return links


def _check_sources(
    samples: Sequence[Sample], components: np.ndarray, known: Collection[str]
) -> None:
    """Raise :class:`DataError` if a known origin has images in fewer than three components.

    ``components[i]`` is the number of the component of ``samples[i]``. Nothing is checked if the
    sources are not known.
    """
    if not any(sample.source for sample in samples):
        return
    pairs = {(s.origin, c) for s, c in zip(samples, components.tolist(), strict=True)}
    counts = Counter(origin for origin, _ in pairs)
    if origin_counts := [f"{o} has {counts[o]}" for o in known if counts[o] < len(_KNOWN_SPLITS)]:
        raise DataError(
            f"too few independent sources: {', '.join(origin_counts)}. Every known origin needs at "
            "least three; sources that share near-duplicates or groups count as one. Add sources, "
            f"add the origin to {name_option('--unknown')}, or omit {name_option('--sources')}."
        )


def _check_components(
    samples: Sequence[Sample], components: Sequence[int], known: Collection[str]
) -> None:
    """Check that the images of each known origin can be divided between train, val and test.

    ``components[i]`` is the number of the component of ``samples[i]``.

    Raises
    ------
    DataError
        A known origin has at least three images, but they are in fewer than three components.
    """
    counts_by_origin: dict[str, Counter[int]] = defaultdict(Counter)
    for sample, component in zip(samples, components, strict=True):
        counts_by_origin[sample.origin][component] += 1
    for origin in known:
        n_images, n_sets = counts_by_origin[origin].total(), len(counts_by_origin[origin])
        if n_images >= len(_KNOWN_SPLITS) > n_sets:
            raise DataError(
                f"the {n_images} images of {origin} can't be divided between train, val and test, "
                f"because they form {format_count(n_sets, 'set')} of near-duplicates or images of "
                "one group, and each set must be in a single split. Add images that are not "
                "related to these; similar frames of one video are one set."
            )


def _look_up(
    images: Sequence[str], names: Mapping[str, str] | None, kind: str, folder: Path
) -> list[str]:
    """Return the group or source of each image; ``kind`` is ``groups`` or ``sources``.

    Raises
    ------
    DataError
        ``names`` lacks an image.
    """
    if names is None:
        return [""] * len(images)
    missing = [image for image in images if image not in names]
    if missing:
        raise DataError(
            f"the {kind} have no row for {len(missing)} of {len(images)} images in {folder}, such "
            f"as {missing[0]}. Add a row for each image, with an empty {kind.removesuffix('s')} if "
            "the image is not related to other images."
        )
    return [names[image] for image in images]


def _assign_splits(
    samples: Sequence[Sample],
    components: np.ndarray,
    known: Sequence[str],
    options: SplitOptions,
    folder_splits: FolderSplits,
) -> dict[str, tuple[Sample, ...]]:
    """Assign components to splits, and return the samples of each split in input order."""
    unknown_val, unknown_test = split_unknown_origins(options)
    unknown: dict[str, tuple[str, ...]] = {"train": (), "val": unknown_val, "test": unknown_test}
    members: dict[int, list[int]] = defaultdict(list)
    for i, component in enumerate(components.tolist()):
        members[component].append(i)
    rng = np.random.default_rng(options.seed)
    # Assign small components last, because they can even out the fractions. Components of equal
    # size are in random order.
    order = sorted(rng.permutation(sorted(members)).tolist(), key=lambda c: -len(members[c]))
    totals = Counter(s.origin for s in samples)
    # Images that are allowed in only some splits are divided by the fractions of these splits.
    totals_by_allowed: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for sample, component in zip(samples, components.tolist(), strict=True):
        totals_by_allowed[folder_splits.allowed_splits.get(component, _KNOWN_SPLITS)][
            sample.origin
        ] += 1
    counts_by_split: dict[str, Counter[str]] = {split: Counter() for split in _KNOWN_SPLITS}
    split_of: dict[int, str] = {}

    def compute_deficit(split: str, counts: Counter[str], allowed: tuple[str, ...]) -> float:
        """Return how far a split is below its target fraction of images of known origins.

        The result is the sum of the differences for the known origins of a component, each weighted
        by the component's number of images of that origin. ``counts`` maps each origin to this
        number; ``allowed`` contains the splits to which the component can be assigned.
        """
        shares = dict(zip(_KNOWN_SPLITS, options.fractions, strict=True))
        share = shares[split]
        if allowed != _KNOWN_SPLITS:
            share /= sum(shares[s] for s in allowed)
        return sum(
            n * (share - counts_by_split[split][o] / totals_by_allowed[allowed][o])
            for o, n in counts.items()
            if o in known
        )

    def rank_split(split: str, counts: Counter[str]) -> tuple[int, float]:
        """Return the sort key of a split for a component with only unknown origins.

        The key is higher for the split that uses more images of the component. In a tie, it is
        higher for the split that has a smaller share of the images of the component's origins.
        """
        n_images = sum(n for o, n in counts.items() if o in unknown[split])
        return n_images, -sum(counts_by_split[split][o] / totals[o] for o in counts)

    counts_by_component = {c: Counter(samples[i].origin for i in members[c]) for c in order}
    has_sources = bool(known) and any(s.source for s in samples)
    balanced_splits = _balance_sources(counts_by_component, known, options) if has_sources else {}
    for component in order:
        counts = counts_by_component[component]
        allowed = folder_splits.allowed_splits.get(component, _KNOWN_SPLITS)
        if component in balanced_splits:
            split = balanced_splits[component]
        elif counts.keys() & set(known):
            split = max(allowed, key=lambda s: compute_deficit(s, counts, allowed))
        else:
            choices = [s for s in ("test", "val") if s in allowed]
            split = max(choices, key=lambda s: rank_split(s, counts))
        counts_by_split[split].update(counts)
        split_of[component] = split

    splits: dict[str, list[Sample]] = {name: [] for name in SPLITS}
    for i, sample in enumerate(samples):
        split = split_of[int(components[i])]
        if i in folder_splits.omitted_indices:
            continue
        if sample.origin in known:
            splits[split].append(sample)
        elif sample.origin in unknown[split]:
            splits[f"{split}_unknown"].append(sample)
    return {name: tuple(split) for name, split in splits.items()}


def _balance_sources(
    counts: Mapping[int, Counter[str]], known: Sequence[str], options: SplitOptions
) -> dict[int, str]:
    """Assign each component that has images of known origins to train, val or test.

    The splits are balanced (:func:`balance_splits`). ``counts[component][origin]`` is the number of
    images of an origin in a component. The result maps each component to the name of its split.
    """
    components = [c for c in sorted(counts) if counts[c].keys() & set(known)]
    images = np.array([[counts[c][o] for o in known] for c in components], dtype=np.float64)
    images = images.reshape(len(components), len(known))
    splits = balance_splits(images / images.sum(axis=0), options.fractions, options.seed)
    return {c: _KNOWN_SPLITS[i] for c, i in zip(components, splits, strict=True)}
