"""What every open-set score has in common."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from whichgen.errors import FitError
from whichgen.evaluation.detection import auroc
from whichgen.openset.base import OpenSetScore
from whichgen.openset.registry import SCORES, score_method

pytestmark = pytest.mark.parametrize("name", SCORES)

#: Scores that nothing about the features can change.
OF_LOGITS = ("max_probability", "entropy", "margin", "max_logit", "energy", "openmax")


class Images(NamedTuple):
    features: np.ndarray
    logits: np.ndarray
    labels: np.ndarray
    n_origins: int

    def take(self, rows: np.ndarray) -> Images:
        """These images, in this order."""
        return Images(self.features[rows], self.logits[rows], self.labels[rows], self.n_origins)


def _known(n: int, d: int, n_origins: int, seed: int = 0, *, even: bool = False) -> Images:
    """Origin j lies around 6 on axis j and has its logits from there; others are noise.

    The last column is constant, and unless origins are ``even`` the last has a single image.
    """
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_origins), rng.integers(0, n_origins - 1, n - n_origins)])
    if even:
        labels = np.arange(n) % n_origins
    return _images(6 * np.eye(n_origins, d)[labels], labels, n_origins, rng)


def _far(n: int, d: int, n_origins: int, distance: float = 15) -> Images:
    """Images on the axes that are no origin's."""
    rng = np.random.default_rng(99)
    axes = rng.integers(n_origins, d - 1, n)
    return _images(distance * np.eye(d)[axes], np.zeros(n, int), n_origins, rng)


def _images(
    places: np.ndarray, labels: np.ndarray, n_origins: int, rng: np.random.Generator
) -> Images:
    features = (places + rng.normal(0, 0.6, places.shape)).astype(np.float32)
    features[:, -1] = 0.7
    weights = np.eye(features.shape[1], n_origins) - 1 / n_origins * (
        np.arange(features.shape[1])[:, None] < n_origins
    )
    return Images(features, 1.5 * features @ weights, labels, n_origins)


def _fit(name: str, images: Images) -> OpenSetScore:
    return score_method(name).fit(*images)


SHAPES = {"n > d": (120, 10), "n < d": (60, 80)}


@pytest.mark.parametrize("shape", SHAPES)
def test_known_images_score_higher_than_far_ones(name: str, shape: str) -> None:
    n, d = SHAPES[shape]
    score = _fit(name, _known(n, d, 3, even=True))
    known, far = _known(60, d, 3, seed=1, even=True), _far(60, d, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, below = score(known.features, known.logits), score(far.features, far.logits)
    for values in (found, below):
        assert values.dtype == np.float64
        assert values.shape == (60,)
        assert np.isfinite(values).all()
    # OpenMax takes some known images of the tail for unknown, by design.
    assert auroc(found, below) > (0.85 if name == "openmax" else 0.99)
    assert np.median(found) > below.max()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_restored_score_is_the_score_to_the_bit(name: str, shape: str) -> None:
    n, d = SHAPES[shape]
    score, queries = _fit(name, _known(n, d, 3)), _known(50, d, 3, seed=1)
    tensors = score.tensors()
    # What safetensors keeps is an array's memory, and model files give 0 dimensions one.
    assert all(t.flags.c_contiguous and t.ndim > 0 for t in tensors.values())
    restored = score_method(name).restore(load(save(tensors)))
    again = restored.tensors()
    assert list(again) == list(tensors)
    for key, tensor in tensors.items():
        assert (again[key].dtype, again[key].shape) == (tensor.dtype, tensor.shape)
        assert np.array_equal(again[key], tensor)
    expected = score(queries.features, queries.logits)
    assert np.array_equal(restored(queries.features, queries.logits), expected)


@given(seed=st.integers(0, 1000))
@settings(max_examples=5)
def test_the_order_of_training_images_is_no_matter(name: str, seed: int) -> None:
    images, queries = _known(45, 12, 3), _known(20, 12, 3, seed=1)
    order = np.random.default_rng(seed).permutation(45)
    found = _fit(name, images.take(order))(queries.features, queries.logits)
    expected = _fit(name, images)(queries.features, queries.logits)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@given(order=st.permutations(range(4)))
@settings(max_examples=5)
def test_the_order_of_origins_is_no_matter(name: str, order: list[int]) -> None:
    images, queries = _known(60, 12, 4), _known(20, 12, 4, seed=1)
    moved = images._replace(logits=images.logits[:, order], labels=np.argsort(order)[images.labels])
    found = _fit(name, moved)(queries.features, queries.logits[:, order])
    expected = _fit(name, images)(queries.features, queries.logits)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_an_image_s_score_is_its_own_whatever_the_batch(name: str) -> None:
    score, queries = _fit(name, _known(60, 12, 3)), _known(40, 12, 3, seed=1)
    one_by_one = [
        score(queries.features[i : i + 1], queries.logits[i : i + 1])[0] for i in range(40)
    ]
    found = score(queries.features, queries.logits)
    np.testing.assert_allclose(found, one_by_one, rtol=1e-9, atol=1e-9)
    assert len(np.unique(found)) > 30


def test_no_query_gives_no_score(name: str) -> None:
    images = _known(30, 8, 3)
    found = _fit(name, images)(images.features[:0], images.logits[:0])
    assert found.shape == (0,)
    assert found.dtype == np.float64


def test_neither_training_nor_query_is_changed(name: str) -> None:
    images = _known(30, 8, 3)
    kept = [a.copy() for a in images[:3]]
    _fit(name, images)(images.features, images.logits)
    for array, before in zip(images[:3], kept, strict=True):
        assert np.array_equal(array, before)


def test_float32_is_computed_as_float64(name: str) -> None:
    images = _known(30, 8, 3)
    narrow = images._replace(logits=images.logits.astype(np.float32))
    wide = Images(narrow.features.astype(np.float64), narrow.logits.astype(np.float64), *narrow[2:])
    found = _fit(name, narrow)(narrow.features, narrow.logits)
    np.testing.assert_allclose(found, _fit(name, wide)(wide.features, wide.logits), rtol=1e-12)


@pytest.mark.parametrize("n_origins", [1, 2, 5])
def test_one_image_an_origin_is_enough(name: str, n_origins: int) -> None:
    images = _known(max(n_origins, 2), 30, max(n_origins, 2))
    first = np.arange(n_origins)
    images = Images(images.features[first], images.logits[first][:, first], first, n_origins)
    found = _fit(name, images)(images.features * 3, images.logits * 3)
    assert np.isfinite(found).all()


def test_features_that_are_all_one_are_no_crash(name: str) -> None:
    images = _known(30, 8, 3)
    images = images._replace(features=np.full((30, 8), 0.3))
    found = _fit(name, images)(images.features, images.logits)
    assert np.isfinite(found).all()
    if name not in (*OF_LOGITS, "she", "prototype", "nearest", "relative_mahalanobis"):
        assert (_fit(name, images)(images.features + 1, images.logits) < found).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_training_data_that_can_not_be_learned_is_refused(name: str, value: float) -> None:
    images = _known(30, 8, 3)
    broken = images.features.copy()
    broken[4, 2] = value
    with pytest.raises(FitError, match=r"1 of 30 feature rows hold NaN .*row 4"):
        _fit(name, images._replace(features=broken))
    with pytest.raises(FitError, match=r"images an origin: \[.*, 0\]"):
        _fit(name, images._replace(labels=np.minimum(images.labels, 1)))


def test_families_are_found_by_name(name: str) -> None:
    assert score_method(name) is SCORES[name]
    assert SCORES[name].name == name
    with pytest.raises(FitError, match=r"unknown open-set score 'odin'; there are max_prob.*, she"):
        score_method("odin")


def test_the_order_is_a_table_s(name: str) -> None:
    assert ", ".join(SCORES) == (
        "max_probability, entropy, margin, max_logit, energy, openmax, mahalanobis, "
        "relative_mahalanobis, nearest, vim, prototype, gaussians, she"
    )
    assert name in SCORES
