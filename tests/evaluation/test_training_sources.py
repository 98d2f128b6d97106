"""Test sources are compared with the training sources by digest."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from whichgen.data.dataset import Sample
from whichgen.evaluation.training_sources import SourceOverlap, TrainingSources, compare_sources


def make_samples(*pairs: tuple[str, str]) -> list[Sample]:
    return [Sample(Path(f"{i}.png"), *pair[:1], source=pair[1]) for i, pair in enumerate(pairs)]


def test_sources_are_counted_per_origin_and_names_are_not_disclosed() -> None:
    samples = make_samples(("real", "flickr"), ("real", "blog"), ("gan", "blog"), ("gan", "blog"))
    record = TrainingSources.from_samples(samples)
    assert record.counts == {"real": 2, "gan": 1}
    assert len(record.digests) == 2
    assert "blog" not in str(asdict(record))
    assert TrainingSources.from_samples(samples[::-1]).digests == record.digests


@pytest.mark.parametrize(
    ("names", "expected", "title"),
    [
        (["forum", "shop", "shop"], SourceOverlap(2, 0), "2 new sources"),
        (["forum", "blog", "blog"], SourceOverlap(2, 1), "2 sources (optimistic)"),
    ],
)
def test_overlap_counts_sources_not_images(
    names: list[str], expected: SourceOverlap, title: str
) -> None:
    record = TrainingSources.from_samples(make_samples(("real", "flickr"), ("gan", "blog")))
    overlap = compare_sources(np.array(names), record)
    assert overlap == expected
    assert overlap.title == title
    assert ("images from 1 of the 2 test sources" in overlap.note) == (overlap.seen == 1)


def test_without_a_record_the_overlap_is_not_known() -> None:
    overlap = compare_sources(np.array(["forum", "blog"]), None)
    assert overlap == SourceOverlap(2, None)
    assert overlap.note.startswith("Possibly optimistic")
