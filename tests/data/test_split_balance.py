"""Balanced splits: no origin lacks images in a split if this is possible."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from whichgen.data.splits.split_balance import balance_splits

FRACTIONS = (0.6, 0.2, 0.2)


def _count_empty(splits: np.ndarray, images: np.ndarray) -> int:
    return sum(int((images[splits == k].sum(axis=0) == 0).sum()) for k in range(3))


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.int64, st.tuples(st.integers(3, 6), st.integers(1, 3)), elements=st.integers(0, 9))
)
def test_no_origin_lacks_a_split_if_an_assignment_exists(images: np.ndarray) -> None:
    images = images[:, images.sum(axis=0) > 0]
    assume(images.size)
    splits = balance_splits(images / images.sum(axis=0), FRACTIONS)
    assert splits.shape == (len(images),)
    assignments = map(np.array, product(range(3), repeat=len(images)))
    assert _count_empty(splits, images) == min(_count_empty(a, images) for a in assignments)
    np.testing.assert_array_equal(splits, balance_splits(images / images.sum(axis=0), FRACTIONS))


def test_shares_are_close_to_the_fractions() -> None:
    images = np.random.default_rng(0).integers(0, 16, (60, 6))
    results = [balance_splits(images / images.sum(axis=0), FRACTIONS, seed) for seed in range(3)]
    for splits in results:
        for split, fraction in enumerate(FRACTIONS):
            shares = images[splits == split].sum(axis=0) / images.sum(axis=0)
            assert shares == pytest.approx(fraction, abs=0.05)
    assert (results[0] != results[1]).any()
