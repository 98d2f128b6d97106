"""Controls: shuffled labels teach nothing, and a leak is noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from whichgen.evaluation.evaluate import label_indices
from whichgen.experiments.controls import Shuffle, ShuffleControl, label_shuffle
from whichgen.experiments.fusion import FusionOptions, fuse

from .conftest import KNN, LINEAR

Make = Callable[..., Any]


@pytest.mark.parametrize("family", [LINEAR, KNN], ids=lambda f: f.name)
def test_a_shuffle_is_the_same_head_on_permuted_labels(world: Make, family: Any) -> None:
    w = world(unknown=("ddpm", "flow"))
    found, parts = w.fit(family), w.parts()
    control = label_shuffle(found, parts, family, seeds=(0, 5), jobs=1)
    train, test = parts.tables["train"], parts.tables["test"]
    labels = label_indices(train.origins, found.model.origins)
    truth = label_indices(test.origins, found.model.origins)
    for shuffle, seed in zip(control.shuffles, (0, 5), strict=True):
        permuted = np.random.default_rng(seed).permutation(labels)
        head = family.fit(train.block(found.block), permuted, 3, found.model.value)
        of_known = head.predict_proba(test.block(found.block))
        of_unknown = head.predict_proba(parts.tables["test_unknown"].block(found.block))
        guessed = of_known.argmax(axis=1)
        assert shuffle.seed == seed
        assert shuffle.accuracy == (guessed == truth).mean()
        assert shuffle.balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, guessed))
        known = np.repeat([1, 0], [len(of_known), len(of_unknown)])
        scores = np.concatenate([of_known, of_unknown]).max(axis=1)
        assert shuffle.auroc == pytest.approx(roc_auc_score(known, scores))
    assert control.guessing == pytest.approx(1 / 3)
    hits = round(control.bar * len(truth))
    assert binomtest(hits + 1, len(truth), 1 / 3, alternative="greater").pvalue <= 0.001
    assert binomtest(hits, len(truth), 1 / 3, alternative="greater").pvalue > 0.001


def test_a_fusion_is_shuffled_with_its_views_and_shrinkage(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    parts = w.parts()
    found = fuse(parts, w.encoder, FusionOptions(values=(10.0,), shrinkages=(0.1,), jobs=1))
    family = found.family
    assert (family.shrinkage, family.values) == (0.1, (10.0,))
    x = parts.tables["train"].blocks(found.model.blocks)
    labels = label_indices(parts.tables["train"].origins, found.model.origins)
    again = family.fit(x, labels, 3, 10.0)
    np.testing.assert_allclose(again.logits(x), found.model.head.logits(x), atol=1e-6)
    control = label_shuffle(found, parts, family, seeds=(0,), jobs=1)
    assert not control.suspicious


def test_without_unknown_images_there_is_no_auroc(world: Make) -> None:
    w = world({"real": 12, "gan": 12})
    (shuffle,) = label_shuffle(w.fit(KNN), w.parts(), KNN, seeds=(0,), jobs=1).shuffles
    assert shuffle.auroc is None


def test_only_a_mean_over_the_bar_is_suspicious() -> None:
    control = ShuffleControl(
        (Shuffle(0, 0.6, 0.5, None), Shuffle(1, 0.4, 0.5, None)), guessing=0.4, bar=0.5
    )
    assert not control.suspicious
    assert replace(control, bar=0.49).suspicious
