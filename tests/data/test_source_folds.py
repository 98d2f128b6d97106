"""Folds: sources stay together, every fold is used, and origins are spread evenly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from whichgen.data.dataset import Sample
from whichgen.data.splits.source_folds import assign_folds, link_across_sources

_samples = st.lists(
    st.builds(
        Sample,
        path=st.just(Path("image.png")),
        origin=st.sampled_from(["real", "gan", "diffusion"]),
        group=st.sampled_from(["", "g1", "g2", "s1"]),
        source=st.sampled_from(["", *(f"s{i}" for i in range(8))]),
    ),
    max_size=60,
)


@given(_samples, st.integers(1, 6), st.integers(0, 3))
def test_units_are_not_divided_and_every_fold_is_used(
    samples: list[Sample], n_folds: int, seed: int
) -> None:
    folds = assign_folds(samples, n_folds, seed)

    assert folds.dtype == np.int64
    assert folds.shape == (len(samples),)
    units: dict[str, set[int]] = {}
    for i, (sample, fold) in enumerate(zip(samples, folds.tolist(), strict=True)):
        single = f"image {i}"
        group = f"group {sample.group}" if sample.group else single
        units.setdefault(f"source {sample.source}" if sample.source else group, set()).add(fold)
    assert all(len(values) == 1 for values in units.values())
    assert len(set(folds.tolist())) == min(n_folds, len(units))
    np.testing.assert_array_equal(folds, assign_folds(samples, n_folds, seed))


@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 3))
def test_origins_are_spread_evenly(n_folds: int, size: int, seed: int) -> None:
    samples = [
        Sample(Path(f"{i}.png"), origin, source=f"{origin}-{source}")
        for origin in ("real", "gan", "diffusion")
        for source in range(2 * n_folds)
        for i in range(size)
    ]

    folds = assign_folds(samples, n_folds, seed)

    counts = Counter((s.origin, f) for s, f in zip(samples, folds.tolist(), strict=True))
    assert set(counts.values()) == {2 * size}
    assert len(counts) == 3 * n_folds


@given(_samples.filter(lambda s: len(s) > 3), st.integers(2, 6), st.data())
def test_linked_images_and_their_sources_are_in_one_fold(
    samples: list[Sample], n_folds: int, data: st.DataObject
) -> None:
    index = st.integers(0, len(samples) - 1)
    links = data.draw(st.lists(st.tuples(index, index), max_size=5))
    folds = assign_folds(samples, n_folds, links=links)
    assert all(folds[i] == folds[j] for i, j in links)
    for source in {s.source for s in samples} - {""}:
        assert len({f for s, f in zip(samples, folds, strict=True) if s.source == source}) == 1
    if not links:
        np.testing.assert_array_equal(folds, assign_folds(samples, n_folds))


def test_copies_are_found_across_sources_only(
    noise: Callable[..., Image.Image], tmp_path: Path
) -> None:
    samples = []
    for number, (seed, source) in enumerate([(1, "a"), (2, "a"), (2, "a"), (3, "b"), (1, "b")]):
        path = tmp_path / f"{number}.jpg"
        noise(seed, (64, 64)).save(path, quality=95 - number)
        samples.append(Sample(path, "real", source=source))
    samples.insert(1, Sample(tmp_path / "missing.png", "real", source="c"))
    assert link_across_sources(samples) == [(0, 5)]


def test_seed_changes_the_folds() -> None:
    samples = [Sample(Path(f"{i}.png"), "real", source=str(i)) for i in range(20)]

    results = {tuple(assign_folds(samples, 4, seed).tolist()) for seed in range(5)}

    assert len(results) == 5
