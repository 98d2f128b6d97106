"""Counts of answers for each source of a test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whichgen.evaluation.answer_metrics import is_named, is_synthetic
from whichgen.evaluation.predictions import Predictions


@dataclass(frozen=True)
class SourceResult:
    """Answers for the test images of one origin from one source.

    Parameters
    ----------
    origin, source
        Names of the true origin and of the source.
    images
        Number of images.
    correct
        Number of images whose most probable origin is correct; 0 for an unknown generator.
    called_synthetic
        Number of images answered with a generator, a family of generators or ``synthetic``.
    named, named_correct
        Number of images answered with a known generator, and number of these that are correct.
    """

    origin: str
    source: str
    images: int
    correct: int
    called_synthetic: int
    named: int
    named_correct: int


def count_by_source(
    images: Predictions, answers: Sequence[str], origins: Sequence[str]
) -> list[SourceResult]:
    """Count the answers for each source of each origin.

    Parameters
    ----------
    images
        Predictions for n test images, which must have sources.
    answers
        The answer for each image: n strings.
    origins
        The known origins, in the order of the probabilities' columns.

    Returns
    -------
    list of SourceResult
        One result per pair of origin and source with images. The known origins are in the order of
        ``origins``; the unknown origins follow in sorted order. The sources of each origin are
        sorted.
    """
    true_origins, sources = images.origins, np.array(images.sources)
    answer_names = np.array(answers, dtype=str)
    correct = np.array(origins)[images.predicted] == true_origins
    synthetic, named = is_synthetic(answer_names), is_named(answer_names, origins)
    results = []
    for origin in dict.fromkeys([*origins, *sorted(true_origins.tolist())]):
        for source in sorted(set(sources[true_origins == origin].tolist())):
            rows = (true_origins == origin) & (sources == source)
            subsets = (rows, correct, synthetic, named, named & (answer_names == true_origins))
            counts = (int((rows & subset).sum()) for subset in subsets)
            results.append(SourceResult(origin, source, *counts))
    return results
