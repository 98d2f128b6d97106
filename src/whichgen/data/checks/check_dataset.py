"""Check a dataset before training: files, duplicates, shortcuts, sources and names of origins.

A shortcut is a property of the files, not of the image content, that separates origins. For
example, all images of one origin are PNG files, and all images of another origin are JPEG files. If
a classifier learns the shortcut instead of the artifacts of the generators, its accuracy is
meaningless.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from whichgen.data.checks.duplicates import find_mixed_clusters, link_near_duplicates
from whichgen.data.checks.source_checks import SourceCount, check_sources, count_sources
from whichgen.data.dataset import Sample
from whichgen.data.images.image_facts import ImageFacts
from whichgen.data.images.image_reader import ImageReader
from whichgen.data.images.jpeg_history import JpegHistory, compare_histories
from whichgen.data.origins.origin_names import validate_origin_names
from whichgen.errors import DataError, ImageError
from whichgen.phrases import format_count
from whichgen.progress import Progress, no_progress

#: A property is a shortcut if at least this fraction of the images of one origin have it, and at
#: most one minus this fraction of the images of another origin.
_SHORTCUT_SHARE = 0.9

#: Minimum fraction of images with a near-duplicate for a warning.
_DUPLICATE_SHARE = 0.01


@dataclass(frozen=True)
class OriginCheck:
    """File counts of one origin.

    Parameters
    ----------
    origin
        Name of the origin.
    images
        Number of files, including missing and unreadable files.
    missing
        Number of files that do not exist.
    unreadable
        Number of files that exist but can't be read or decoded.
    formats, sizes, modes
        Map each format, size (width and height in pixels after EXIF rotation, such as ``640×480``)
        and color mode to the number of readable files that have it, most frequent first.
    qualities
        Maps each estimated JPEG quality, such as ``"90"``, to the number of readable JPEG files
        that have it, most frequent first.
    former_jpeg
        Number of readable files that are not JPEG files but whose pixels have traces of JPEG
        compression (:mod:`whichgen.data.images.jpeg_history`).
    """

    origin: str
    images: int
    missing: int
    unreadable: int
    formats: dict[str, int]
    sizes: dict[str, int]
    modes: dict[str, int]
    qualities: dict[str, int]
    former_jpeg: int


@dataclass(frozen=True)
class CheckReport:
    """Result of :func:`check_samples`.

    Parameters
    ----------
    origins
        File counts of each origin, in the order in which the origins first occur.
    exact_duplicates
        Number of readable files that are identical to an earlier file.
    near_duplicates
        Number of readable files, without exact duplicates, minus the number of clusters of
        near-duplicates (:func:`~whichgen.data.checks.duplicates.link_near_duplicates`). A file
        without near-duplicates is a cluster of its own.
    sources
        Numbers of sources and images of each origin; empty unless every sample has a source.
    warnings
        Messages about label conflicts, shortcuts, near-duplicates, the names of the origins
        (:mod:`whichgen.data.origins.origin_names`) and the sources
        (:func:`~whichgen.data.checks.source_checks.check_sources`). A label conflict means that
        identical files have different origins.
    errors
        One message per missing or unreadable file.
    """

    origins: tuple[OriginCheck, ...]
    exact_duplicates: int
    near_duplicates: int
    sources: tuple[SourceCount, ...]
    warnings: tuple[str, ...]
    errors: tuple[str, ...]


def check_samples(
    samples: Sequence[Sample],
    reader: ImageReader | None = None,
    *,
    progress: Progress = no_progress,
) -> CheckReport:
    """Check samples for missing and unreadable files, label conflicts, shortcuts and duplicates.

    The names of the origins are checked, too. So are the sources, if every sample has a source.

    Parameters
    ----------
    samples
        All images of the dataset.
    reader
        Reads the images and caches facts about them; by default, nothing is cached.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Raises
    ------
    StoreError
        The reader's cache can't be read or written.
    """
    reader = reader or ImageReader()
    images = list(reader.read(samples, with_history=True, progress=progress))
    by_origin: dict[str, list[ImageFacts | ImageError]] = defaultdict(list)
    labels: dict[bytes, dict[str, Sample]] = defaultdict(dict)
    histories: dict[str, list[JpegHistory]] = defaultdict(list)
    for sample, image in zip(samples, images, strict=True):
        by_origin[sample.origin].append(image)
        if isinstance(image, ImageFacts):
            labels[image.digest].setdefault(sample.origin, sample)
            histories[sample.origin] += [image.history] if image.history else []
    readable = [f for f in images if isinstance(f, ImageFacts)]
    rows = [i for i, f in enumerate(images) if isinstance(f, ImageFacts)]
    clusters: dict[int, list[int]] = {row: [row] for row in rows}
    for first, i in link_near_duplicates([f.perceptual_hash for f in readable]):
        clusters[rows[first]].append(rows[i])
        del clusters[rows[i]]
    origins = tuple(
        _count_files(origin, group, histories[origin]) for origin, group in by_origin.items()
    )
    warnings = [
        f"LABEL CONFLICT: the same file is labeled {' and '.join(sorted(conflict))}: "
        + ", ".join(str(conflict[o].path) for o in sorted(conflict))
        + ". Keep only the file with the correct origin."
        for conflict in labels.values()
        if len(conflict) > 1
    ]
    try:
        validate_origin_names(by_origin)
    except DataError as error:
        warnings.append(f"ORIGIN NAME: {error}")
    for name in ("format", "size", "mode"):
        warnings += _find_shortcuts(name, {o.origin: getattr(o, f"{name}s") for o in origins})
    warnings += _find_shortcuts("JPEG quality", {o.origin: o.qualities for o in origins})
    warnings += compare_histories(histories)
    conflict_paths = {s.path for c in labels.values() if len(c) > 1 for s in c.values()}
    duplicate_clusters = [c for c in clusters.values() if len(c) > 1]
    warnings += _describe_duplicates(samples, duplicate_clusters, conflict_paths)
    has_sources = bool(samples) and all(s.source for s in samples)
    if has_sources:
        warnings += check_sources(samples, images, list(clusters.values()))
    return CheckReport(
        origins=origins,
        exact_duplicates=len(readable) - len(labels),
        near_duplicates=len(labels) - len(clusters),
        sources=tuple(count_sources(samples)) if has_sources else (),
        warnings=tuple(warnings),
        errors=tuple(str(f) for f in images if isinstance(f, ImageError)),
    )


def _describe_duplicates(
    samples: Sequence[Sample], clusters: Sequence[Sequence[int]], conflict_paths: Collection[Path]
) -> list[str]:
    """Return warnings about near-duplicates.

    Parameters
    ----------
    samples
        All samples.
    clusters
        Indices of the samples in each cluster of at least two near-duplicates.
    conflict_paths
        Paths of files with a label conflict, which is a separate warning. Their clusters are not
        reported as near-duplicates across origins.
    """
    warnings = []
    n_images = sum(map(len, clusters))
    largest = max(clusters, key=len, default=())
    if clusters and n_images >= _DUPLICATE_SHARE * len(samples):
        warnings.append(
            f"NEAR-DUPLICATES: {n_images} of {len(samples)} images are near-duplicates of one "
            f"another, in {format_count(len(clusters), 'set')}; the largest set has "
            f"{len(largest)} images, such as {samples[largest[0]].path} and "
            f"{samples[largest[1]].path}. Keep one image of each set, because the others add "
            "little information."
        )
    unreported_clusters = (
        c for c in clusters if not any(samples[i].path in conflict_paths for i in c)
    )
    if mixed_clusters := find_mixed_clusters(
        samples, unreported_clusters, lambda sample: sample.origin
    ):
        n_mixed, first, other = mixed_clusters
        warnings.append(
            f"NEAR-DUPLICATES: {n_mixed} images are in sets of near-duplicates with more than one "
            f"origin, such as {first.path} and {other.path}. Check the origins of these images."
        )
    return warnings


def _count_files(
    origin: str,
    images: Sequence[ImageFacts | ImageError],
    histories: Sequence[JpegHistory],
) -> OriginCheck:
    """Return the file counts of an origin; ``histories`` are those of its readable files."""
    readable = [f for f in images if isinstance(f, ImageFacts)]
    missing = sum(str(f).endswith("no such file") for f in images if isinstance(f, ImageError))
    return OriginCheck(
        origin=origin,
        images=len(images),
        missing=missing,
        unreadable=len(images) - len(readable) - missing,
        formats=dict(Counter(f.format for f in readable).most_common()),
        sizes=dict(Counter(f"{f.traits.width}×{f.traits.height}" for f in readable).most_common()),
        modes=dict(Counter(f.mode for f in readable).most_common()),
        qualities=dict(Counter(str(h.quality) for h in histories if h.quality).most_common()),
        former_jpeg=sum(h.is_former_jpeg for h in histories),
    )


def _find_shortcuts(name: str, counts: dict[str, dict[str, int]]) -> list[str]:
    """Return a warning for each origin that a property separates from another origin.

    A property separates two origins if at least 90 % of the readable files of one origin have a
    value that at most 10 % of the readable files of the other origin have. Files without the
    property are ignored: only JPEG files have a JPEG quality.

    Parameters
    ----------
    name
        Name of the property: ``format``, ``size``, ``mode`` or ``JPEG quality``.
    counts
        ``counts[origin][value]`` is the number of readable files of the origin with this value. The
        values of each origin are in descending order of count.
    """
    totals = {origin: sum(values.values()) for origin, values in counts.items() if values}
    # 1 - _SHORTCUT_SHARE would be rounded to less than 0.1.
    limits = {origin: total - _SHORTCUT_SHARE * total for origin, total in totals.items()}
    files = "JPEG files" if name == "JPEG quality" else "images"
    warnings = []
    for origin, total in totals.items():
        value, n = next(iter(counts[origin].items()))
        other_origins = [other for other in totals if counts[other].get(value, 0) <= limits[other]]
        if n >= _SHORTCUT_SHARE * total and other_origins:
            warnings.append(
                f"SHORTCUT: {n} of {total} {files} of {origin} have {name} {value}, unlike "
                f"almost all {files} of {', '.join(other_origins)}. A classifier can learn this "
                "instead of the origin. Process the original files of all origins in the same way."
            )
    return warnings
