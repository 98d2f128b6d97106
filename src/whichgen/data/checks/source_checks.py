"""Count the sources of each origin, and warn about problems that make results unreliable.

For example, an origin has only one source, or sources reveal the origin, differ in file properties
or share near-duplicates.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whichgen.data.checks.duplicates import find_mixed_clusters
from whichgen.data.checks.shortcut_properties import PROPERTIES, list_properties, select_properties
from whichgen.data.dataset import Sample
from whichgen.data.images.image_facts import ImageFacts
from whichgen.errors import ImageError
from whichgen.phrases import join_names

#: A source differs from the other sources of an origin if at least this fraction of its images have
#: a value of a property that at most one minus this fraction of the images of the other sources
#: have.
_DIFFERENCE_SHARE = 0.9

#: Minimum number of images of a source that is compared with other sources. Single images often
#: have unusual sizes.
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
    n_sources
        Number of sources with images of the origin.
    n_shared_sources
        Number of these sources that also have images of other origins.
    images_per_source_range
        Minimum and maximum number of images of the origin per source.
    """

    origin: str
    n_sources: int
    n_shared_sources: int
    images_per_source_range: tuple[int, int]


def count_sources(samples: Sequence[Sample]) -> list[SourceCount]:
    """Count the sources of each origin, and the images of the origin in each source.

    Parameters
    ----------
    samples
        Samples, all of which have a source.

    Returns
    -------
    list of SourceCount
        One entry per origin, in the order in which the origins first occur.
    """
    counts = _count_by_origin(samples)
    n_origins = Counter(source for sources in counts.values() for source in sources)
    return [
        SourceCount(
            origin,
            n_sources=len(sources),
            n_shared_sources=sum(n_origins[source] > 1 for source in sources),
            images_per_source_range=(min(sources.values()), max(sources.values())),
        )
        for origin, sources in counts.items()
    ]


def check_sources(
    samples: Sequence[Sample],
    images: Sequence[ImageFacts | ImageError],
    clusters: Sequence[Sequence[int]],
) -> list[str]:
    """Return warnings about the sources of a dataset.

    The following conditions cause a warning:

    - An origin has a single source.
    - No source of an origin has images of another origin.
    - Some sources of an origin differ from its other sources in format, size or JPEG quality
      (quantization table).
    - Near-duplicates have different sources.

    Parameters
    ----------
    samples
        Samples, all of which have a source.
    images
        Facts about the file of each sample, or the error of an unreadable file.
    clusters
        Indices of the samples in each cluster of near-duplicates, including identical images.
    """
    counts = count_sources(samples)
    warnings = []
    if single_source_origins := [c.origin for c in counts if c.n_sources == 1]:
        warnings.append(
            "SOURCES: origins with only one source: "
            f"{join_names(single_source_origins, _MAX_NAMES)}. Their metrics do not apply to other "
            "sources. Add images from other sources."
        )
    if confounded_origins := [c.origin for c in counts if not c.n_shared_sources]:
        warnings.append(
            f"SOURCES: no source of {join_names(confounded_origins, _MAX_NAMES)} has images of "
            "another origin, so the source reveals the origin. Add sources with several origins."
        )
    pairs = zip(samples, images, strict=True)
    readable = [(s, image) for s, image in pairs if isinstance(image, ImageFacts)]
    differences = _find_differences(
        [sample for sample, _ in readable], list_properties([image for _, image in readable])
    )
    warnings += [
        f"SOURCES: {len(differences[c.origin])} of {c.n_sources} sources of {c.origin} differ from "
        "its other sources in format, size or JPEG quality: "
        f"{join_names(differences[c.origin], _MAX_NAMES)}. Process the images of all sources in "
        "the same way."
        for c in counts
        if c.origin in differences
    ]
    if mixed_clusters := find_mixed_clusters(samples, clusters, lambda sample: sample.source):
        n_images, first, other = mixed_clusters
        warnings.append(
            f"SOURCES: {n_images} images are in sets of near-duplicates with more than one source, "
            f"such as {first.path} and {other.path}. Keep one image of each set; otherwise, its "
            "sources count as one when a folder is split."
        )
    return warnings


def _count_by_origin(samples: Sequence[Sample]) -> dict[str, Counter[str]]:
    """Count images by origin and source: ``counts[origin][source]``."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in samples:
        counts[sample.origin][sample.source] += 1
    return counts


def _find_differences(samples: Sequence[Sample], properties: np.ndarray) -> dict[str, list[str]]:
    """Return the sources of each origin that differ from the other sources of the origin.

    The rows of ``properties`` (:func:`~whichgen.data.checks.shortcut_properties.list_properties`)
    correspond to ``samples``. Origins whose sources do not differ are omitted.
    """
    image_counts = _count_by_origin(samples)
    differences: dict[str, dict[str, None]] = defaultdict(dict)
    for prefix in ("format_", ("width", "height"), "quantization_0_"):
        table = select_properties(
            properties, (name for name in PROPERTIES if name.startswith(prefix))
        )
        counts: dict[tuple[str, str], Counter[bytes]] = defaultdict(Counter)
        totals: dict[str, Counter[bytes]] = defaultdict(Counter)
        for sample, row in zip(samples, table, strict=True):
            if row.any():  # files that are not JPEG files have no quantization table
                counts[sample.origin, sample.source][row.tobytes()] += 1
                totals[sample.origin][row.tobytes()] += 1
        for (origin, source), values in counts.items():
            value, n = values.most_common(1)[0]
            n_images = image_counts[origin][source]
            n_other = image_counts[origin].total() - n_images
            is_common = n_images >= _MIN_IMAGES and n >= _DIFFERENCE_SHARE * n_images
            # 1 - _DIFFERENCE_SHARE would be rounded to less than 0.1.
            if is_common and totals[origin][value] - n <= n_other - _DIFFERENCE_SHARE * n_other:
                differences[origin][source] = None
    return {
        origin: sorted(names)
        for origin, names in differences.items()
        if len(image_counts[origin]) > 1
    }
