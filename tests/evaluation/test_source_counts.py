"""Answers are counted for each source of each origin."""

from __future__ import annotations

import numpy as np

from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.source_counts import SourceResult, count_by_source


def test_answers_are_counted_by_origin_and_source() -> None:
    origins = ("real", "gan", "vae")
    truth = ["real", "real", "gan", "gan", "gan", "flow"]
    sources = ["b", "a", "a", "a", "c", "a"]
    predicted = [0, 1, 1, 2, 1, 2]
    answers = ["real", "synthetic", "gan", "vae", "unknown", "vae"]
    images = Predictions(
        np.eye(3)[predicted], np.array(truth), np.zeros(6), None, np.array(sources)
    )
    assert count_by_source(images, answers, origins) == [
        SourceResult("real", "a", 1, 0, 1, 0, 0),
        SourceResult("real", "b", 1, 1, 0, 0, 0),
        SourceResult("gan", "a", 2, 1, 2, 2, 1),
        SourceResult("gan", "c", 1, 1, 0, 0, 0),
        SourceResult("flow", "a", 1, 0, 1, 1, 0),
    ]
