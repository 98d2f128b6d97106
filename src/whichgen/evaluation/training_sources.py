"""Training sources of a model, and their overlap with the sources of test images.

Images from one source (a website, repository or person) have similar prompts, sizes and
compression. Metrics are therefore optimistic if test images come from sources of training images. A
model records a digest of the name of each training source: a known name can be compared with the
digests, but the names can't be read from the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from whichgen.data.dataset import Sample
from whichgen.io.run_metadata import hash_parts
from whichgen.phrases import format_count

#: Title of metrics on test images from sources that a model was not trained on.
NEW_SOURCES = "new sources"


@dataclass(frozen=True)
class TrainingSources:
    """The sources of the images that a model was fitted, selected and calibrated on.

    Parameters
    ----------
    counts
        Maps each origin to the number of its sources.
    digests
        Digest of the name of each source: 16 hexadecimal digits. The digests are distinct and
        sorted.
    """

    counts: dict[str, int]
    digests: tuple[str, ...]

    @classmethod
    def from_samples(cls, samples: Iterable[Sample]) -> TrainingSources:
        """Count the sources of the samples on which a model was fitted, selected and calibrated.

        Every sample must have a source.
        """
        pairs = dict.fromkeys((sample.origin, sample.source) for sample in samples)
        counts = Counter(origin for origin, _ in pairs)
        return cls(dict(counts), tuple(sorted({_hash_source(source) for _, source in pairs})))


@dataclass(frozen=True)
class SourceOverlap:
    """Overlap between the sources of a test set and the training sources of the tested model.

    Parameters
    ----------
    sources
        Number of sources of the test images.
    seen
        Number of these sources that are also training sources; ``None`` if the model does not
        record its training sources.
    """

    sources: int
    seen: int | None

    @property
    def title(self) -> str:
        """Number and kind of the test sources, for tables and sentences.

        Examples are ``7 new sources`` and ``2 sources (optimistic)``.
        """
        if self.seen == 0:
            return format_count(self.sources, "new source")
        warning = "possibly optimistic" if self.seen is None else "optimistic"
        return f"{format_count(self.sources, 'source')} ({warning})"

    @property
    def note(self) -> str:
        """Note to show with the metrics of the test set."""
        test_sources = f"the {format_count(self.sources, 'test source')}"
        if self.seen is None:
            return (
                "Possibly optimistic: the model does not record whether it was trained on images "
                f"from {test_sources}."
            )
        if self.seen:
            return (
                f"Optimistic: the model was also trained on images from {self.seen} of "
                f"{test_sources}. Expect lower metrics on other sources."
            )
        return f"On new sources: the model was not trained on images from {test_sources}."


def compare_sources(names: np.ndarray, training: TrainingSources | None) -> SourceOverlap:
    """Count the sources of test images, and how many of them are training sources.

    Parameters
    ----------
    names
        Source of each test image: str array (n,).
    training
        The training sources of the tested model; ``None`` if they are not recorded.
    """
    sources = set(names.tolist())
    seen = None
    if training:
        seen = len({_hash_source(source) for source in sources} & set(training.digests))
    return SourceOverlap(len(sources), seen)


def _hash_source(source: str) -> str:
    return hash_parts([source])[:16]
