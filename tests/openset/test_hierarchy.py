"""Coarser predictions: values computed by hand, and general properties."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from whichgen.heads.head import HeadOutput
from whichgen.openset.hierarchy import (
    Hierarchy,
    compute_group_logits,
    fit_hierarchy,
    select_answers,
)

ORIGINS = ("ldm", "real", "gan", "ddpm")
FAMILIES = {"ldm": "diffusion", "gan": "GAN", "ddpm": "diffusion"}


def draw_views(seed: int = 0, views: int = 3, n: int = 50, scale: float = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(log_softmax(rng.normal(0, scale, (views, n, 4)), axis=2))


def pool(log_probabilities: np.ndarray, weights: Sequence[float] = ()) -> HeadOutput:
    """Output of views with these weights; by default, the weights are equal."""
    views, n, _ = log_probabilities.shape
    weights = np.tile(weights or np.full(views, 1 / views), (n, 1)).T
    empty = np.empty((n, 0))
    return HeadOutput(empty, empty, log_probabilities, weights, lambda: empty)


def test_group_logit_is_the_weighted_mean_over_views() -> None:
    p = np.array([[[0.1, 0.2, 0.3, 0.4]], [[0.5, 0.1, 0.2, 0.2]]])
    pooled = compute_group_logits(pool(np.log(p)), [0, 3])
    assert pooled == pytest.approx((np.log(0.5) + np.log(0.7)) / 2)
    assert compute_group_logits(pool(np.log(p)), [0, 1, 2, 3]) == pytest.approx(0)
    weighted = compute_group_logits(pool(np.log(p), (0.75, 0.25)), [0, 3])
    assert weighted == pytest.approx(0.75 * np.log(0.5) + 0.25 * np.log(0.7))


def test_most_specific_certain_group_is_answered() -> None:
    def one(*p: float) -> np.ndarray:
        return np.log(np.array([[p], [p]]))

    hierarchy = Hierarchy(FAMILIES, synthetic=np.log(9), real=np.log(4), family=np.log(0.8))
    cases = {
        "unknown": one(0.4, 0.5, 0.05, 0.05),  # synthetic and real equally likely
        "real": one(0.1, 0.82, 0.04, 0.04),
        "synthetic": one(0.3, 0.05, 0.35, 0.3),  # diffusion 0.6
        "diffusion": one(0.5, 0.05, 0.05, 0.4),
        "GAN": one(0.02, 0.02, 0.94, 0.02),
    }
    for expected, p in cases.items():
        assert select_answers(pool(p), np.array([-1]), ORIGINS, hierarchy) == [expected]
        assert select_answers(pool(p), np.array([3]), ORIGINS, hierarchy) == ["ddpm"]


def test_views_that_disagree_on_the_generator_agree_on_synthetic() -> None:
    p = np.array([[[0.97, 0.01, 0.01, 0.01]], [[0.01, 0.01, 0.97, 0.01]]])
    hierarchy = Hierarchy(FAMILIES, synthetic=np.log(9), real=np.log(9), family=np.log(0.8))
    assert np.log(p).mean(axis=0).max() < np.log(0.11)
    assert select_answers(pool(np.log(p)), np.array([-1]), ORIGINS, hierarchy) == ["synthetic"]


@given(st.integers(0, 1000), st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_thresholds_respect_the_true_positive_rate(seed: int, tpr: float) -> None:
    rng = np.random.default_rng(seed)
    p, labels = draw_views(seed), rng.integers(0, 4, 50)
    hierarchy = fit_hierarchy(pool(p), labels, ORIGINS, FAMILIES, tpr)
    probabilities = np.exp(p)
    z_real = p[:, :, 1].mean(axis=0)
    z_synthetic = np.log(probabilities[:, :, [0, 2, 3]].sum(axis=2)).mean(axis=0)
    family = np.log(np.stack([probabilities[:, :, [0, 3]].sum(axis=2), probabilities[:, :, 2]]))
    z_family = family.mean(axis=1).max(axis=0)
    is_real = labels == 1
    assert (
        hierarchy.synthetic is not None
        and hierarchy.real is not None
        and hierarchy.family is not None
    )
    margin = z_synthetic - z_real
    for threshold, wrong in (
        (hierarchy.synthetic, margin[is_real]),
        (hierarchy.real, -margin[~is_real]),
    ):
        assert threshold >= 0
        assert (wrong > threshold + 1e-9).mean() <= 1 - tpr + 1e-9
        # A lower threshold would accept too many, unless it is already 0.
        assert threshold == 0 or (wrong >= threshold - 1e-9).mean() > 1 - tpr - 1e-9
    assert (z_family[~is_real] >= hierarchy.family - 1e-9).mean() >= tpr - 1e-9


@given(st.integers(0, 1000), st.permutations(range(4)))
def test_answers_do_not_depend_on_the_order_of_origins(seed: int, order: list[int]) -> None:
    p, labels = draw_views(seed), np.random.default_rng(seed).integers(0, 4, 50)
    reordered = tuple(ORIGINS[i] for i in order)
    of_label = np.array([order.index(label) for label in labels.tolist()])
    first = fit_hierarchy(pool(p), labels, ORIGINS, FAMILIES, 0.8)
    second = fit_hierarchy(pool(p[:, :, order]), of_label, reordered, FAMILIES, 0.8)
    unknown = np.full(50, -1)
    assert select_answers(pool(p), unknown, ORIGINS, first) == select_answers(
        pool(p[:, :, order]), unknown, reordered, second
    )


def test_families_are_answered_without_real() -> None:
    p, labels = draw_views()[:, :, [0, 2, 3]], np.arange(50) % 3
    p = np.asarray(log_softmax(p, axis=2))
    hierarchy = fit_hierarchy(pool(p), labels, ("ldm", "gan", "ddpm"), FAMILIES, 0.5)
    assert hierarchy.synthetic is None and hierarchy.real is None
    answers = set(select_answers(pool(p), np.full(50, -1), ("ldm", "gan", "ddpm"), hierarchy))
    assert answers <= {"unknown", "diffusion", "GAN"} and len(answers) > 1
    none = Hierarchy(FAMILIES, synthetic=np.inf, real=np.inf, family=-np.inf)
    assert set(select_answers(pool(draw_views()), np.full(50, -1), ORIGINS, none)) == {"unknown"}


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.1, 0.3]), st.sampled_from([0.6, 0.9]))
def test_precise_hierarchy(seed: int, fpr: float, precision: float) -> None:
    rng = np.random.default_rng(seed)
    p, labels = draw_views(seed), rng.integers(-1, 4, 50)
    hierarchy = fit_hierarchy(pool(p), labels, ORIGINS, FAMILIES, 0.9, fpr=fpr, precision=precision)
    answers = np.array(select_answers(pool(p), np.full(50, -1), ORIGINS, hierarchy))
    real = labels == 1
    assert not np.isin(answers[real], ["diffusion", "GAN", "synthetic"]).sum() > fpr * real.sum()
    named = np.isin(answers, ["diffusion", "GAN"])
    truth = np.array(["diffusion", "", "GAN", "diffusion", ""])[labels]
    # If no threshold is precise enough, only the image with the highest logit is accepted.
    assert named.sum() <= 1 or (answers == truth)[named].mean() >= precision - 1e-9


def test_images_of_unknown_generators_of_a_known_family_count_as_correct() -> None:
    p, labels = draw_views(15), np.random.default_rng(15).integers(-1, 4, 50)
    truth = np.array(["diffusion", "", "GAN", "diffusion", "GAN"])[labels]
    strict, informed = (
        fit_hierarchy(
            *(pool(p), labels, ORIGINS, FAMILIES, 0.9),
            fpr=0.5,
            precision=0.7,
            true_families=true_families,
        )
        for true_families in (None, truth)
    )
    assert strict.family is not None and informed.family is not None
    assert informed.family < strict.family
    answers = np.array(select_answers(pool(p), np.full(50, -1), ORIGINS, informed))
    named = np.isin(answers, ["diffusion", "GAN"])
    assert (answers == truth)[named].mean() >= 0.7


def test_origin_that_is_its_own_family_is_no_coarser_answer() -> None:
    families = {"ldm": "FLUX.1", "gan": "gan", "ddpm": "FLUX.1"}
    p = np.array([[0.02, 0.02, 0.94, 0.02], [0.47, 0.02, 0.04, 0.47]])
    output, rejected = pool(np.log(np.stack([p, p]))), np.array([-1, -1])
    hierarchy = Hierarchy(families, synthetic=np.log(9), real=np.log(4), family=np.log(0.8))
    assert select_answers(output, rejected, ORIGINS, hierarchy) == ["synthetic", "FLUX.1"]
    alone = Hierarchy({o: o for o in families}, hierarchy.synthetic, hierarchy.real, -np.inf)
    assert select_answers(output, rejected, ORIGINS, alone) == ["synthetic"] * 2
    labels = np.array([0, 1, 2, 3] * 20)
    output = pool(draw_views(n=80))
    fitted = fit_hierarchy(output, labels, ORIGINS, {o: o for o in families}, 0.95)
    assert fitted.family is None
    assert fit_hierarchy(output, labels, ORIGINS, families, 0.95).family is not None
