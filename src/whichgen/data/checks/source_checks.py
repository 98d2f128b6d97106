"""Check the sources of a dataset: whether they reveal the origin, and whether they overlap."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whichgen.data.checks.file_properties import PROPERTIES, list_properties, select_properties
from whichgen.data.dataset import Sample
from whichgen.data.images.image_facts import ImageFacts
from whichgen.errors import ImageError

#: A source differs if at least this fraction of its images has the same value, and at most one
#: minus this fraction of the images of the origin's other sources.
_DIFFERENCE_SHARE = 0.9

#: Smallest number of images of a source that can differ: single images often have unusual sizes.
_MIN_IMAGES = 3

#: Maximum number of sources listed in a warning.
_MAX_NAMES = 3


@dataclass(frozen=True)
class SourceCount:
    """Numbers of sources and images of one origin.

    Parameters
    ----------
    origin
        Name of the origin.
    sources
        Number of sources with images of the origin.
    shared
        Number of these sources that also have images of other origins.
    images
        Smallest and largest number of images of the origin per source.
    """

    origin: str
    sources: int
    shared: int
    images: tuple[int, int]


def count_sources(samples: Sequence[Sample]) -> list[SourceCount]:
    """Count the sources of each origin, in the order in which the origins first occur."""
    counts = _count_by_origin(samples)
    n_origins = Counter(source for sources in counts.values() for source in sources)
    return [
        SourceCount(
            origin,
            sources=len(sources),
            shared=sum(n_origins[source] > 1 for source in sources),
            images=(min(sources.values()), max(sources.values())),
        )
        for origin, sources in counts.items()
    ]


def check_sources(
    samples: Sequence[Sample],
    images: Sequence[ImageFacts | ImageError],
    clusters: Sequence[Sequence[int]],
) -> list[str]:
    """Return warnings about the sources of a dataset.

    There is a warning if

    - an origin has a single source;
    - none of the sources of an origin has images of another origin;
    - sources differ from the other sources of the same origin in format, size or JPEG quality
      (quantization table);
    - near-duplicates have different sources.

    Parameters
    ----------
    samples
        Sequence of n samples with sources.
    images
        Facts about the file of each sample, or the error of an unreadable file.
    clusters
        Indices of the samples in each cluster of near-duplicates or identical images.
    """
    counts = count_sources(samples)
    warnings = []
    if single := [c.origin for c in counts if c.sources == 1]:
        warnings.append(
            f"SOURCES: only one source of {_list(single)}: figures say nothing about other "
            "sources. Add images from other sources."
        )
    if confounded := [c.origin for c in counts if not c.shared]:
        warnings.append(
            f"SOURCES: no source of {_list(confounded)} has images of another origin, so the "
            "source reveals the origin. Add sources with several origins."
        )
    pairs = zip(samples, images, strict=True)
    readable = [(s, image) for s, image in pairs if isinstance(image, ImageFacts)]
    differences = _find_differences(
        [sample for sample, _ in readable], list_properties([image for _, image in readable])
    )
    warnings += [
        f"SOURCES: {len(differences[c.origin])} of {c.sources} sources of {c.origin} differ from "
        f"the others in format, size or JPEG quality: {_list(differences[c.origin])}."
        for c in counts
        if c.origin in differences
    ]
    across = [c for c in clusters if len({samples[i].source for i in c}) > 1]
    if across:
        first = samples[across[0][0]]
        other = next(samples[i] for i in across[0] if samples[i].source != first.source)
        warnings.append(
            f"SOURCES: near-duplicates in different sources: {sum(map(len, across))} images, e.g. "
            f"{first.path} and {other.path}. Such sources stay in one split."
        )
    return warnings


def _count_by_origin(samples: Sequence[Sample]) -> dict[str, Counter[str]]:
    """Return a dictionary ``counts``: ``counts[origin][source]`` is the number of images."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in samples:
        counts[sample.origin][sample.source] += 1
    return counts


def _find_differences(samples: Sequence[Sample], properties: np.ndarray) -> dict[str, list[str]]:
    """Return the sources of each origin that differ from its other sources.

    The properties of ``samples`` are the rows of ``properties``
    (:func:`~whichgen.data.checks.file_properties.list_properties`). Origins without such sources
    are not in the dictionary.
    """
    sizes = _count_by_origin(samples)
    differences: dict[str, dict[str, None]] = defaultdict(dict)
    for prefix in ("format_", ("width", "height"), "quantization_0_"):
        table = select_properties(
            properties, (name for name in PROPERTIES if name.startswith(prefix))
        )
        counts: dict[tuple[str, str], Counter[bytes]] = defaultdict(Counter)
        totals: dict[str, Counter[bytes]] = defaultdict(Counter)
        for sample, row in zip(samples, table, strict=True):
            if row.any():  # other formats have no quantization table
                counts[sample.origin, sample.source][row.tobytes()] += 1
                totals[sample.origin][row.tobytes()] += 1
        for (origin, source), values in counts.items():
            value, n = values.most_common(1)[0]
            size, others = sizes[origin][source], sizes[origin].total() - sizes[origin][source]
            is_common = size >= _MIN_IMAGES and n >= _DIFFERENCE_SHARE * size
            if is_common and totals[origin][value] - n <= (1 - _DIFFERENCE_SHARE) * others:
                differences[origin][source] = None
    # An origin with a single source has no others to differ from.
    return {
        origin: sorted(names) for origin, names in differences.items() if len(sizes[origin]) > 1
    }


def _list(names: Sequence[str]) -> str:
    rest = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")
