"""Mixture of experts: one fusion per kind of perturbation, and a gate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from whichgen.errors import FitError
from whichgen.heads.experts import GATE_C, GATE_SHRINKAGE, ExpertsHead, ExpertsMethod
from whichgen.heads.extension import extend, lower_last_bias
from whichgen.heads.fusion import FusionHead, FusionMethod
from whichgen.heads.method_registry import make_head_method

FUSION = FusionMethod(widths=(4, 3), shrinkage=0.1)


def images(
    seed: int = 0, n: int = 90, shift: float = 6.0, origins: int = 3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three origins, original and with two perturbations; each perturbation permutes the origins.

    The last column of each view identifies the kind and is independent of the origin.
    """
    rng = np.random.default_rng(seed)
    labels, kinds = np.tile(np.arange(n) % origins, 3), np.repeat(np.arange(3), n)
    centers = np.random.default_rng(5).normal(0, 2, (4, 7))
    x = rng.normal(centers[(labels + kinds) % origins], 1.0)
    x[:, [3, 6]] = shift * kinds[:, None] + rng.normal(size=(3 * n, 2))
    return x.astype(np.float32), labels, kinds


def fit_experts(**keywords: float) -> tuple[ExpertsHead, np.ndarray, np.ndarray, np.ndarray]:
    x, y, kinds = images(**keywords)
    return ExpertsMethod(FUSION, kinds).fit(x, y, 3, 10.0), x, y, kinds


def test_experts_are_fusions_of_their_kind_and_the_gate_predicts_kinds() -> None:
    head, x, y, kinds = fit_experts()
    for kind, expert in enumerate(head.experts):
        alone = FUSION.fit(x[kinds == kind], y[kinds == kind], 3, 10.0)
        np.testing.assert_array_equal(expert.forward(x).logits, alone.forward(x).logits)
    gate = FusionMethod(widths=(4, 3), shrinkage=GATE_SHRINKAGE).fit(x, kinds, 3, GATE_C)
    np.testing.assert_allclose(head.gate.forward(x).logits, gate.forward(x).logits, atol=1e-4)


def test_view_weights_are_the_gated_weights_of_the_experts() -> None:
    x, y, kinds = images(shift=1.0)
    head = ExpertsMethod(FUSION, kinds, ((1, 1), (2,), (1, 1))).fit(x, y, 3, 10.0)
    votes = [expert.tensors()["votes"].tolist() for expert in head.experts]
    assert votes == [[1, 1], [2], [1, 1]]
    wide = replace(FUSION, widths=(2, 2, 3))
    three = ExpertsMethod(wide, kinds, ((1, 1, 1), (2, 1), (1, 2))).fit(x, y, 3, 10.0)
    g = softmax(three.gate.forward(x).logits, axis=1)
    of_expert = np.array([[1 / 3, 1 / 3, 1 / 3], [1 / 4, 1 / 4, 1 / 2], [1 / 2, 1 / 4, 1 / 4]])
    np.testing.assert_allclose(three.forward(x).view_weights, (g @ of_expert).T)
    output = three.forward(x)
    z = (output.view_weights[:, :, None] * output.log_probabilities).sum(axis=0)
    np.testing.assert_allclose(output.logits, z)


def test_log_probabilities_are_those_of_the_mixture() -> None:
    head, x, *_ = fit_experts(shift=1.0)
    g = softmax(head.gate.forward(x).logits, axis=1)
    assert 0.05 < np.median(g.max(axis=1)) < 0.99  # the gate is uncertain
    output = head.forward(x)
    for v in range(2):
        mixture = sum(
            g[:, k, None] * np.exp(expert.forward(x).log_probabilities[v])
            for k, expert in enumerate(head.experts)
        )
        np.testing.assert_allclose(np.exp(output.log_probabilities[v]), mixture, rtol=1e-9)
    z = output.log_probabilities.mean(axis=0)
    np.testing.assert_allclose(output.logits, z)
    np.testing.assert_allclose(output.probabilities, softmax(z, axis=1))
    assert (output.log_probabilities <= 0).all()


def test_experts_classify_perturbed_images_that_a_joint_fusion_misclassifies() -> None:
    head, *_ = fit_experts()
    x, y, kinds = images(seed=1)
    correct = head.forward(x).probabilities.argmax(axis=1) == y
    assert all(correct[kinds == kind].mean() > 0.9 for kind in range(3))
    joint = FUSION.fit(*images()[:2], 3, 10.0)
    assert (joint.forward(x).probabilities.argmax(axis=1) == y).mean() < 0.7
    original = head.experts[0]
    assert (
        original.forward(x[kinds == 0]).probabilities.argmax(axis=1) == y[kinds == 0]
    ).mean() > 0.9
    np.testing.assert_array_equal(head.forward(x).embedding, original.forward(x).embedding)


def test_restored_head_is_identical() -> None:
    head, x, *_ = fit_experts()
    arrays = head.tensors() | {"score.scale": np.ones(1), "exemplars.labels": np.ones(1)}
    restored = make_head_method("experts").restore(arrays, 3, 10.0)
    np.testing.assert_array_equal(restored.forward(x).logits, head.forward(x).logits)
    np.testing.assert_array_equal(restored.forward(x).embedding, head.forward(x).embedding)


def test_more_than_ten_experts_are_restored_in_order() -> None:
    head, x, *_ = fit_experts()
    experts = tuple(head.experts[i % 3] for i in range(12))
    many = ExpertsHead(FUSION.fit(x, np.arange(len(x)) % 12, 12, 1.0), experts)
    restored = make_head_method("experts").restore(many.tensors(), 3, 10.0)
    assert isinstance(restored, ExpertsHead)
    for a, b in zip(restored.experts, experts, strict=True):
        np.testing.assert_array_equal(a.forward(x).logits, b.forward(x).logits)


def test_extension_adds_an_origin_to_every_expert() -> None:
    head, x, y, kinds = fit_experts()
    rng = np.random.default_rng(3)
    new = x[:8] * 0 + rng.normal(8, 1, (8, 7)).astype(np.float32)
    new[:, [3, 6]] = rng.normal(size=(8, 2))  # original images
    wider = extend(head, np.vstack([x, new]), np.append(y, np.full(8, 3)), 3)
    assert isinstance(wider, ExpertsHead)
    assert all(isinstance(e, FusionHead) and len(e.views[0].probe.bias) == 4 for e in wider.experts)
    query = new + rng.normal(0, 0.3, new.shape).astype(np.float32)
    assert (wider.forward(query).probabilities.argmax(axis=1) == 3).all()
    originals = kinds == 0
    assert (wider.forward(x[originals]).probabilities.argmax(axis=1) == y[originals]).mean() > 0.9
    before, after = (
        wider.forward(query).probabilities,
        lower_last_bias(wider, 20.0).forward(query).probabilities,
    )
    assert (after[:, 3] < before[:, 3]).all()


def test_missing_kinds_and_origins_are_rejected() -> None:
    x, y, kinds = images()
    with pytest.raises(
        FitError, match="expected one kind per training image, got 0 kinds for 270 images"
    ):
        make_head_method("experts").fit(x, y, 3, 1.0)
    incomplete = kinds.copy()
    incomplete[(kinds == 2) & (y == 1)] = 0
    with pytest.raises(FitError, match=r"1 of 3 origins have no training image \(first: label 1\)"):
        ExpertsMethod(FUSION, incomplete).fit(x, y, 3, 1.0)
