"""Properties of every open-set score."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from outputs import output
from safetensors.numpy import load, save

from whichgen.errors import FitError
from whichgen.evaluation.unknown_detection import compute_auroc
from whichgen.heads.head import HeadOutput
from whichgen.openset.score import OpenSetScore
from whichgen.openset.score_registry import SCORES, fit_score, get_score_class

pytestmark = pytest.mark.parametrize("name", SCORES)

#: Scores that depend only on the logits.
OF_LOGITS = ("max_probability", "entropy", "margin", "max_logit", "energy", "openmax")


class Images(NamedTuple):
    features: np.ndarray
    logits: np.ndarray
    labels: np.ndarray
    n_origins: int

    @property
    def output(self) -> HeadOutput:
        return output(self.features, self.logits)

    def take(self, rows: np.ndarray) -> Images:
        """Select and reorder images."""
        return Images(self.features[rows], self.logits[rows], self.labels[rows], self.n_origins)


def _known(n: int, d: int, n_origins: int, seed: int = 0, *, even: bool = False) -> Images:
    """Origin j lies around 6 on axis j, which determines its logits; other columns are noise.

    The last column is constant. The last origin has a single image unless ``even``.
    """
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_origins), rng.integers(0, n_origins - 1, n - n_origins)])
    if even:
        labels = np.arange(n) % n_origins
    return _images(6 * np.eye(n_origins, d)[labels], labels, n_origins, rng)


def _far(n: int, d: int, n_origins: int, distance: float = 15) -> Images:
    """Images on the axes that belong to no origin."""
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
    return fit_score(name, images.output, images.labels, images.n_origins)


SHAPES = {"n > d": (120, 10), "n < d": (60, 80)}


@pytest.mark.parametrize("shape", SHAPES)
def test_known_images_score_higher_than_far_ones(name: str, shape: str) -> None:
    n, d = SHAPES[shape]
    score = _fit(name, _known(n, d, 3, even=True))
    known, far = _known(60, d, 3, seed=1, even=True), _far(60, d, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known_scores, far_scores = score(known.output), score(far.output)
    for values in (known_scores, far_scores):
        assert values.dtype == np.float64
        assert values.shape == (60,)
        assert np.isfinite(values).all()
    # OpenMax rejects some known images in the tail by design.
    assert compute_auroc(known_scores, far_scores) > (0.85 if name == "openmax" else 0.99)
    assert np.median(known_scores) > far_scores.max()


@pytest.mark.parametrize("shape", SHAPES)
def test_restored_score_is_identical(name: str, shape: str) -> None:
    n, d = SHAPES[shape]
    score, queries = _fit(name, _known(n, d, 3)), _known(50, d, 3, seed=1)
    tensors = score.tensors()
    # safetensors stores the memory of an array; model files cannot store arrays without dimensions.
    assert all(t.flags.c_contiguous and t.ndim > 0 for t in tensors.values())
    restored = SCORES[name].restore(load(save(tensors)))
    again = restored.tensors()
    assert list(again) == list(tensors)
    for key, tensor in tensors.items():
        assert (again[key].dtype, again[key].shape) == (tensor.dtype, tensor.shape)
        assert np.array_equal(again[key], tensor)
    expected = score(queries.output)
    assert np.array_equal(restored(queries.output), expected)


@given(seed=st.integers(0, 1000))
@settings(max_examples=5)
def test_score_does_not_depend_on_the_order_of_training_images(name: str, seed: int) -> None:
    images, queries = _known(45, 12, 3), _known(20, 12, 3, seed=1)
    order = np.random.default_rng(seed).permutation(45)
    scores = _fit(name, images.take(order))(queries.output)
    expected = _fit(name, images)(queries.output)
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-9)


@given(order=st.permutations(range(4)))
@settings(max_examples=5)
def test_score_does_not_depend_on_the_order_of_origins(name: str, order: list[int]) -> None:
    images, queries = _known(60, 12, 4), _known(20, 12, 4, seed=1)
    moved = images._replace(logits=images.logits[:, order], labels=np.argsort(order)[images.labels])
    scores = _fit(name, moved)(output(queries.features, queries.logits[:, order]))
    expected = _fit(name, images)(queries.output)
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-9)


def test_score_does_not_depend_on_the_batch(name: str) -> None:
    score, queries = _fit(name, _known(60, 12, 3)), _known(40, 12, 3, seed=1)
    one_by_one = [
        score(output(queries.features[i : i + 1], queries.logits[i : i + 1]))[0] for i in range(40)
    ]
    scores = score(queries.output)
    np.testing.assert_allclose(scores, one_by_one, rtol=1e-9, atol=1e-9)
    assert len(np.unique(scores)) > 30


def test_empty_batch_gives_no_scores(name: str) -> None:
    images = _known(30, 8, 3)
    scores = _fit(name, images)(output(images.features[:0], images.logits[:0]))
    assert scores.shape == (0,)
    assert scores.dtype == np.float64


def test_inputs_are_not_modified(name: str) -> None:
    images = _known(30, 8, 3)
    copies = [a.copy() for a in images[:3]]
    _fit(name, images)(images.output)
    for array, before in zip(images[:3], copies, strict=True):
        assert np.array_equal(array, before)


def test_float32_is_computed_in_float64(name: str) -> None:
    images = _known(30, 8, 3)
    narrow = images._replace(logits=images.logits.astype(np.float32))
    wide = Images(narrow.features.astype(np.float64), narrow.logits.astype(np.float64), *narrow[2:])
    scores = _fit(name, narrow)(narrow.output)
    np.testing.assert_allclose(scores, _fit(name, wide)(wide.output), rtol=1e-12)


@pytest.mark.parametrize("n_origins", [1, 2, 5])
def test_one_image_per_origin_suffices(name: str, n_origins: int) -> None:
    images = _known(max(n_origins, 2), 30, max(n_origins, 2))
    first = np.arange(n_origins)
    images = Images(images.features[first], images.logits[first][:, first], first, n_origins)
    scores = _fit(name, images)(output(images.features * 3, images.logits * 3))
    assert np.isfinite(scores).all()


def test_equal_features_are_handled(name: str) -> None:
    images = _known(30, 8, 3)
    images = images._replace(features=np.full((30, 8), 0.3))
    scores = _fit(name, images)(images.output)
    assert np.isfinite(scores).all()
    if name not in (*OF_LOGITS, "she", "prototype", "nearest", "relative_mahalanobis"):
        assert (_fit(name, images)(output(images.features + 1, images.logits)) < scores).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_invalid_training_data_is_rejected(name: str, value: float) -> None:
    images = _known(30, 8, 3)
    broken = images.features.copy()
    broken[4, 2] = value
    with pytest.raises(FitError, match=r"1 of 30 feature rows contain NaN .*row 4"):
        _fit(name, images._replace(features=broken))
    broken = np.where(images.logits == images.logits[4], np.nan, images.logits)
    with pytest.raises(FitError, match=r"logits for training images contain NaN or infinity"):
        _fit(name, images._replace(logits=broken))
    with pytest.raises(FitError, match="origins have no training image"):
        _fit(name, images._replace(labels=np.minimum(images.labels, 1)))


def test_score_class_is_selected_by_name(name: str) -> None:
    assert get_score_class(name) is SCORES[name]
    with pytest.raises(FitError, match=r"unknown open-set score 'odin'. Choose from .*, she"):
        get_score_class("odin")
