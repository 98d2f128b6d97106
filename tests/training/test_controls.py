"""Controls: shuffled labels teach nothing, and a fit on true ones is noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from whichgen.evaluation.predictions import label_indices
from whichgen.heads.knn import KnnMethod
from whichgen.training.controls import ShuffleRun, run_label_shuffle, summarize_shuffles
from whichgen.training.fit_fusion import FusionOptions, fuse

from .conftest import KNN, LINEAR

Make = Callable[..., Any]


@pytest.mark.parametrize("head_method", [LINEAR, KNN], ids=lambda f: f.name)
def test_a_shuffle_is_the_same_head_on_permuted_labels(world: Make, head_method: Any) -> None:
    w = world(unknown=("ddpm", "flow"))
    found, parts = w.fit(head_method), w.extract()
    control = run_label_shuffle(found, parts, head_method, seeds=(0, 5), jobs=1)
    train, test = parts.tables["train"], parts.tables["test"]
    labels = label_indices(train.origins, found.model.origins)
    truth = label_indices(test.origins, found.model.origins)
    for shuffle, seed in zip(control.shuffles, (0, 5), strict=True):
        permuted = np.random.default_rng(seed).permutation(labels)
        head = head_method.fit(train.block(found.block), permuted, 3, found.model.hyperparameter)
        of_known = head.forward(test.block(found.block)).probabilities
        of_unknown = head.forward(parts.tables["test_unknown"].block(found.block)).probabilities
        guessed = of_known.argmax(axis=1)
        assert shuffle.seed == seed
        assert shuffle.accuracy == (guessed == truth).mean()
        assert shuffle.balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, guessed))
        known = np.repeat([1, 0], [len(of_known), len(of_unknown)])
        scores = np.concatenate([of_known, of_unknown]).max(axis=1)
        assert shuffle.auroc == pytest.approx(roc_auc_score(known, scores))
    found_balanced = [shuffle.balanced_accuracy for shuffle in control.shuffles]
    assert control.chance == 1 / 3
    assert control.mean == pytest.approx(np.mean(found_balanced))
    assert control.p_value == pytest.approx(
        ttest_1samp(found_balanced, 1 / 3, alternative="greater").pvalue
    )


def test_a_fusion_is_shuffled_with_its_views_and_shrinkage(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    parts = w.extract()
    found = fuse(parts, w.encoder, FusionOptions(values=(10.0,), shrinkages=(0.1,), jobs=1))
    head_method = found.head_method
    assert head_method.shrinkage == 0.1
    x = parts.tables["train"].blocks(found.model.blocks)
    labels = label_indices(parts.tables["train"].origins, found.model.origins)
    again = head_method.fit(x, labels, 3, 10.0)
    np.testing.assert_allclose(
        again.forward(x).logits, found.model.head.forward(x).logits, atol=1e-4
    )
    control = run_label_shuffle(found, parts, head_method, seeds=(0,), jobs=1)
    assert not control.suspicious


def test_without_unknown_images_there_is_no_auroc(world: Make) -> None:
    w = world({"real": 12, "gan": 12})
    (shuffle,) = run_label_shuffle(w.fit(KNN), w.extract(), KNN, seeds=(0,), jobs=1).shuffles
    assert shuffle.auroc is None


def shuffles(*balanced: float) -> list[ShuffleRun]:
    return [ShuffleRun(seed, 0.9, value, None) for seed, value in enumerate(balanced)]


@pytest.mark.parametrize(
    ("balanced", "suspicious"),
    [
        ((0.33, 0.35, 0.31, 0.36), False),  # about chance
        ((0.41, 0.28, 0.44, 0.33), False),  # over chance on average, but no more than it varies
        ((0.95, 0.96, 0.94, 0.97), True),
        ((0.40, 0.41, 0.39, 0.40), True),  # little, but time and again
        ((0.1, 0.11, 0.09, 0.1), False),  # worse than chance is no leak
        ((1.0, 1.0, 1.0), True),
        ((1 / 3, 1 / 3, 1 / 3), False),  # every head answers one origin alone
        ((0.95,), False),  # one can't tell
    ],
)
def test_shuffled_heads_are_suspicious_when_reliably_over_chance(
    balanced: tuple[float, ...], suspicious: bool
) -> None:
    assert summarize_shuffles(shuffles(*balanced), 1 / 3).suspicious is suspicious


def test_a_fit_that_comes_by_true_labels_is_found_out(world: Make) -> None:
    nearest = KnnMethod(values=(1,))

    @dataclass(frozen=True)
    class Cheat:
        """Fits on the true labels, whatever it is given."""

        truth: np.ndarray

        def fit(self, x: np.ndarray, _: np.ndarray, n_origins: int, value: float) -> Any:
            return nearest.fit(x, self.truth, n_origins, value)

    w = world(unknown=("ddpm", "flow"))
    found, parts = w.fit(nearest), w.extract()
    train = parts.tables["train"]
    # EvaluatedModel on training images, whose nearest neighbor is itself.
    asked = replace(found, known_table=train, known=replace(found.known, origins=train.origins))
    cheat: Any = Cheat(label_indices(train.origins, found.model.origins))
    assert run_label_shuffle(asked, parts, cheat, jobs=1).suspicious
    assert not run_label_shuffle(asked, parts, nearest, jobs=1).suspicious
