"""What can still be said of an unknown image, by hand and by law."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from whichgen.openset.hierarchy import (
    Hierarchy,
    Said,
    fit_hierarchy,
    group_logits,
    most_specific_answers,
)

ORIGINS = ("ldm", "real", "gan", "ddpm")
FAMILIES = {"ldm": "diffusion", "gan": "GAN", "ddpm": "diffusion"}


def drawn(seed: int = 0, views: int = 3, n: int = 50, scale: float = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(log_softmax(rng.normal(0, scale, (views, n, 4)), axis=2))


def even(log_probabilities: np.ndarray) -> Said:
    """All views weigh alike."""
    views, n, _ = log_probabilities.shape
    return Said(log_probabilities, np.full((views, n), 1 / views))


def test_a_group_is_the_mean_over_views_of_its_members_probability_together() -> None:
    p = np.array([[[0.1, 0.2, 0.3, 0.4]], [[0.5, 0.1, 0.2, 0.2]]])
    found = group_logits(even(np.log(p)), [0, 3])
    assert found == pytest.approx((np.log(0.5) + np.log(0.7)) / 2)
    assert group_logits(even(np.log(p)), [0, 1, 2, 3]) == pytest.approx(0)
    weighed = group_logits(Said(np.log(p), np.array([[0.75], [0.25]])), [0, 3])
    assert weighed == pytest.approx(0.75 * np.log(0.5) + 0.25 * np.log(0.7))


def test_the_deepest_certain_group_is_answered() -> None:
    def one(*p: float) -> np.ndarray:
        return np.log(np.array([[p], [p]]))

    levels = Hierarchy(FAMILIES, synthetic=np.log(9), real=np.log(4), family=np.log(0.8))
    cases = {
        "unknown": one(0.4, 0.5, 0.05, 0.05),  # synthetic or real: half and half
        "real": one(0.1, 0.82, 0.04, 0.04),
        "synthetic": one(0.3, 0.05, 0.35, 0.3),  # diffusion 0.6
        "diffusion": one(0.5, 0.05, 0.05, 0.4),
        "GAN": one(0.02, 0.02, 0.94, 0.02),
    }
    for expected, p in cases.items():
        assert most_specific_answers(even(p), np.array([-1]), ORIGINS, levels) == [expected]
        assert most_specific_answers(even(p), np.array([3]), ORIGINS, levels) == ["ddpm"]


def test_views_that_disagree_on_the_generator_agree_that_it_is_one() -> None:
    p = np.array([[[0.97, 0.01, 0.01, 0.01]], [[0.01, 0.01, 0.97, 0.01]]])
    levels = Hierarchy(FAMILIES, synthetic=np.log(9), real=np.log(9), family=np.log(0.8))
    assert np.log(p).mean(axis=0).max() < np.log(0.11)
    assert most_specific_answers(even(np.log(p)), np.array([-1]), ORIGINS, levels) == ["synthetic"]


@given(st.integers(0, 1000), st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_few_of_the_other_kind_are_called_so_and_families_are_kept(seed: int, tpr: float) -> None:
    rng = np.random.default_rng(seed)
    p, labels = drawn(seed), rng.integers(0, 4, 50)
    levels = fit_hierarchy(even(p), labels, ORIGINS, FAMILIES, tpr)
    together = np.exp(p)
    z_real = p[:, :, 1].mean(axis=0)
    z_synthetic = np.log(together[:, :, [0, 2, 3]].sum(axis=2)).mean(axis=0)
    family = np.log(np.stack([together[:, :, [0, 3]].sum(axis=2), together[:, :, 2]]))
    z_family = family.mean(axis=1).max(axis=0)
    is_real = labels == 1
    assert levels.synthetic is not None and levels.real is not None and levels.family is not None
    ahead = z_synthetic - z_real
    for threshold, wrong in ((levels.synthetic, ahead[is_real]), (levels.real, -ahead[~is_real])):
        assert threshold >= 0
        assert (wrong > threshold + 1e-9).mean() <= 1 - tpr + 1e-9
        # No lower threshold would do, but for that of being ahead at all.
        assert threshold == 0 or (wrong >= threshold - 1e-9).mean() > 1 - tpr - 1e-9
    assert (z_family[~is_real] >= levels.family - 1e-9).mean() >= tpr - 1e-9


@given(st.integers(0, 1000), st.permutations(range(4)))
def test_the_order_of_origins_does_not_matter(seed: int, order: list[int]) -> None:
    p, labels = drawn(seed), np.random.default_rng(seed).integers(0, 4, 50)
    turned = tuple(ORIGINS[i] for i in order)
    of_label = np.array([order.index(label) for label in labels.tolist()])
    first = fit_hierarchy(even(p), labels, ORIGINS, FAMILIES, 0.8)
    second = fit_hierarchy(even(p[:, :, order]), of_label, turned, FAMILIES, 0.8)
    unknown = np.full(50, -1)
    assert most_specific_answers(even(p), unknown, ORIGINS, first) == most_specific_answers(
        even(p[:, :, order]), unknown, turned, second
    )


def test_without_real_only_families_are_there_and_with_real_alone_nothing() -> None:
    p, labels = drawn()[:, :, [0, 2, 3]], np.arange(50) % 3
    p = np.asarray(log_softmax(p, axis=2))
    levels = fit_hierarchy(even(p), labels, ("ldm", "gan", "ddpm"), FAMILIES, 0.5)
    assert levels.synthetic is None and levels.real is None
    answers = set(most_specific_answers(even(p), np.full(50, -1), ("ldm", "gan", "ddpm"), levels))
    assert answers <= {"unknown", "diffusion", "GAN"} and len(answers) > 1
    none = Hierarchy(FAMILIES, synthetic=np.inf, real=np.inf, family=-np.inf)
    assert set(most_specific_answers(even(drawn()), np.full(50, -1), ORIGINS, none)) == {"unknown"}
