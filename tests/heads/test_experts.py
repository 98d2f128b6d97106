"""Experts: a fusion a kind of perturbation, and a gate that weighs them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from whichgen.errors import FitError
from whichgen.heads.experts import GATE_C, GATE_SHRINKAGE, ExpertsHead, ExpertsMethod
from whichgen.heads.extension import extend, lower_last_bias
from whichgen.heads.fusion import FusionHead, FusionMethod
from whichgen.heads.methods import head_method

FUSION = FusionMethod(widths=(4, 3), shrinkage=0.1)


def images(
    seed: int = 0, n: int = 90, shift: float = 6.0, origins: int = 3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three origins, as they are and twice perturbed; a perturbation turns origins around.

    What tells the kinds apart (the last column of each view) says nothing of origins.
    """
    rng = np.random.default_rng(seed)
    labels, kinds = np.tile(np.arange(n) % origins, 3), np.repeat(np.arange(3), n)
    centers = np.random.default_rng(5).normal(0, 2, (4, 7))
    x = rng.normal(centers[(labels + kinds) % origins], 1.0)
    x[:, [3, 6]] = shift * kinds[:, None] + rng.normal(size=(3 * n, 2))
    return x.astype(np.float32), labels, kinds


def fitted(**keywords: float) -> tuple[ExpertsHead, np.ndarray, np.ndarray, np.ndarray]:
    x, y, kinds = images(**keywords)
    return ExpertsMethod(FUSION, kinds).fit(x, y, 3, 10.0), x, y, kinds


def test_each_expert_is_a_fusion_of_its_kind_and_the_gate_one_of_kinds() -> None:
    head, x, y, kinds = fitted()
    for kind, expert in enumerate(head.experts):
        alone = FUSION.fit(x[kinds == kind], y[kinds == kind], 3, 10.0)
        np.testing.assert_array_equal(expert.logits(x), alone.logits(x))
    gate = FusionMethod(widths=(4, 3), shrinkage=GATE_SHRINKAGE).fit(x, kinds, 3, GATE_C)
    np.testing.assert_allclose(head.weights(x), log_softmax(gate.logits(x), axis=1), atol=1e-4)


def test_views_weigh_as_the_experts_that_are_asked_have_it() -> None:
    x, y, kinds = images(shift=1.0)
    head = ExpertsMethod(FUSION, kinds, ((1, 1), (2,), (1, 1))).fit(x, y, 3, 10.0)
    assert [expert.votes for expert in head.experts] == [(1, 1), (2,), (1, 1)]
    wide = replace(FUSION, widths=(2, 2, 3))
    three = ExpertsMethod(wide, kinds, ((1, 1, 1), (2, 1), (1, 2))).fit(x, y, 3, 10.0)
    g = softmax(three.gate.logits(x), axis=1)
    of_expert = np.array([[1 / 3, 1 / 3, 1 / 3], [1 / 4, 1 / 4, 1 / 2], [1 / 2, 1 / 4, 1 / 4]])
    np.testing.assert_allclose(three.shares(x), (g @ of_expert).T)
    said = three.log_probabilities(x)
    z = sum(three.shares(x)[v][:, None] * said[v] for v in range(3))
    np.testing.assert_allclose(three.logits(x), z)


def test_views_are_mixtures_written_out() -> None:
    head, x, *_ = fitted(shift=1.0)
    g = softmax(head.gate.logits(x), axis=1)
    assert 0.05 < np.median(g.max(axis=1)) < 0.99  # a gate that is in doubt
    for v in range(2):
        mixture = sum(
            g[:, k, None] * np.exp(expert.log_probabilities(x)[v])
            for k, expert in enumerate(head.experts)
        )
        np.testing.assert_allclose(np.exp(head.log_probabilities(x)[v]), mixture, rtol=1e-9)
    z = head.log_probabilities(x).mean(axis=0)
    np.testing.assert_allclose(head.logits(x), z)
    np.testing.assert_allclose(head.predict_proba(x), softmax(z, axis=1))
    assert (head.log_probabilities(x) <= 0).all()


def test_a_perturbed_image_is_answered_by_its_expert_where_one_probe_for_all_fails() -> None:
    head, *_ = fitted()
    x, y, kinds = images(seed=1)
    right = head.predict_proba(x).argmax(axis=1) == y
    assert all(right[kinds == kind].mean() > 0.9 for kind in range(3))
    joint = FUSION.fit(*images()[:2], 3, 10.0)
    assert (joint.predict_proba(x).argmax(axis=1) == y).mean() < 0.7
    untouched = head.experts[0]
    assert (untouched.predict_proba(x[kinds == 0]).argmax(axis=1) == y[kinds == 0]).mean() > 0.9
    np.testing.assert_array_equal(head.embed(x), untouched.embed(x))


def test_a_restored_head_answers_to_the_bit() -> None:
    head, x, *_ = fitted()
    arrays = head.tensors() | {"score.scale": np.ones(1), "exemplars.labels": np.ones(1)}
    again = head_method("experts").restore(arrays, 3, 10.0)
    np.testing.assert_array_equal(again.logits(x), head.logits(x))
    np.testing.assert_array_equal(again.embed(x), head.embed(x))


def test_more_than_ten_experts_come_back_in_order() -> None:
    head, x, *_ = fitted()
    experts = tuple(head.experts[i % 3] for i in range(12))
    many = ExpertsHead(head.gate, experts)
    again = head_method("experts").restore(many.tensors(), 3, 10.0)
    assert isinstance(again, ExpertsHead)
    for a, b in zip(again.experts, experts, strict=True):
        np.testing.assert_array_equal(a.logits(x), b.logits(x))


def test_a_sweep_is_a_fit_for_each_c() -> None:
    x, y, kinds = images()
    family = ExpertsMethod(FusionMethod((4, 3), (1.0, 10.0), 0.1), kinds)
    for (value, (p,)), c in zip(family.sweep(x, y, 3, [x[:5]]), (1.0, 10.0), strict=True):
        assert value == c
        np.testing.assert_array_equal(p, family.fit(x, y, 3, c).predict_proba(x[:5]))


def test_a_new_origin_is_added_to_every_expert() -> None:
    head, x, y, kinds = fitted()
    rng = np.random.default_rng(3)
    new = x[:8] * 0 + rng.normal(8, 1, (8, 7)).astype(np.float32)
    new[:, [3, 6]] = rng.normal(size=(8, 2))  # images as they are
    wider = extend(head, np.vstack([x, new]), np.append(y, np.full(8, 3)), 3)
    assert isinstance(wider, ExpertsHead)
    assert all(isinstance(e, FusionHead) and len(e.views[0].probe.bias) == 4 for e in wider.experts)
    query = new + rng.normal(0, 0.3, new.shape).astype(np.float32)
    assert (wider.predict_proba(query).argmax(axis=1) == 3).all()
    kept = kinds == 0
    assert (wider.predict_proba(x[kept]).argmax(axis=1) == y[kept]).mean() > 0.9
    before, after = wider.predict_proba(query), lower_last_bias(wider, 20.0).predict_proba(query)
    assert (after[:, 3] < before[:, 3]).all()


def test_a_kind_is_needed_for_each_image_and_every_origin_for_each_kind() -> None:
    x, y, kinds = images()
    with pytest.raises(FitError, match="0 kinds for 270 training images"):
        head_method("experts").fit(x, y, 3, 1.0)
    lacking = kinds.copy()
    lacking[(kinds == 2) & (y == 1)] = 0
    with pytest.raises(FitError, match=r"images an origin: \[30, 0, 30\]"):
        ExpertsMethod(FUSION, lacking).fit(x, y, 3, 1.0)
