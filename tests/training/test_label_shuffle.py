"""Label shuffle: chance accuracy on permuted labels, and detection of a label leak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from whichgen.evaluation.predictions import encode_labels
from whichgen.heads.knn import KnnMethod
from whichgen.training.fit_fusion import FusionOptions, fuse
from whichgen.training.label_shuffle import ShuffleRun, run_label_shuffle, summarize_shuffles

from .conftest import KNN, LINEAR

Make = Callable[..., Any]


@pytest.mark.parametrize("head_method", [LINEAR, KNN], ids=lambda f: f.name)
def test_shuffle_fits_the_same_head_on_permuted_labels(world: Make, head_method: Any) -> None:
    w = world(unknown=("ddpm", "flow"))
    result, parts = w.fit(head_method), w.extract()
    control = run_label_shuffle(result, head_method, seeds=(0, 5), jobs=1)
    train, test = parts.tables["train"], parts.tables["test"]
    labels = encode_labels(train.origins, result.model.origins)
    truth = encode_labels(test.origins, result.model.origins)
    for shuffle, seed in zip(control.shuffles, (0, 5), strict=True):
        permuted = np.random.default_rng(seed).permutation(labels)
        head = head_method.fit(
            train.read_block(result.block), permuted, 3, result.model.hyperparameter
        )
        of_known = head.forward(test.read_block(result.block)).probabilities
        of_unknown = head.forward(
            parts.tables["test_unknown"].read_block(result.block)
        ).probabilities
        predicted = of_known.argmax(axis=1)
        assert shuffle.seed == seed
        assert shuffle.accuracy == (predicted == truth).mean()
        assert shuffle.balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, predicted))
        known = np.repeat([1, 0], [len(of_known), len(of_unknown)])
        scores = np.concatenate([of_known, of_unknown]).max(axis=1)
        assert shuffle.auroc == pytest.approx(roc_auc_score(known, scores))
    accuracies = [shuffle.balanced_accuracy for shuffle in control.shuffles]
    assert control.chance == 1 / 3
    assert control.mean == pytest.approx(np.mean(accuracies))
    assert control.p_value == pytest.approx(
        ttest_1samp(accuracies, 1 / 3, alternative="greater").pvalue
    )


def test_shuffled_fusion_has_the_same_views_and_shrinkage(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    parts = w.extract()
    result = fuse(parts, w.encoder, FusionOptions(values=(10.0,), shrinkages=(0.1,), jobs=1))
    head_method = result.head_method
    assert head_method.shrinkage == 0.1
    x = parts.tables["train"].read_blocks(result.model.blocks)
    labels = encode_labels(parts.tables["train"].origins, result.model.origins)
    again = head_method.fit(x, labels, 3, 10.0)
    np.testing.assert_allclose(
        again.forward(x).logits, result.model.head.forward(x).logits, atol=1e-4
    )
    control = run_label_shuffle(result, head_method, seeds=(0,), jobs=1)
    assert not control.suspicious


def test_shuffle_without_unknown_images_has_no_auroc(world: Make) -> None:
    w = world({"real": 12, "gan": 12})
    (shuffle,) = run_label_shuffle(w.fit(KNN), KNN, seeds=(0,), jobs=1).shuffles
    assert shuffle.auroc is None


def shuffles(*balanced: float) -> list[ShuffleRun]:
    return [ShuffleRun(seed, 0.9, value, None) for seed, value in enumerate(balanced)]


@pytest.mark.parametrize(
    ("balanced", "suspicious"),
    [
        ((0.33, 0.35, 0.31, 0.36), False),  # about chance
        ((0.41, 0.28, 0.44, 0.33), False),  # above chance on average, within the spread
        ((0.95, 0.96, 0.94, 0.97), True),
        ((0.40, 0.41, 0.39, 0.40), True),  # little, but every time
        ((0.1, 0.11, 0.09, 0.1), False),  # below chance: no leak
        ((1.0, 1.0, 1.0), True),
        ((1 / 3, 1 / 3, 1 / 3), False),  # every head predicts a single origin
        ((0.95,), False),  # a single shuffle has no p-value
    ],
)
def test_shuffled_heads_are_suspicious_when_reliably_over_chance(
    balanced: tuple[float, ...], suspicious: bool
) -> None:
    assert summarize_shuffles(shuffles(*balanced), 1 / 3).suspicious is suspicious


def test_fit_on_true_labels_is_suspicious(world: Make) -> None:
    nearest = KnnMethod(values=(1,))

    @dataclass(frozen=True)
    class Cheat:
        """Fits on the true labels and ignores the given ones."""

        truth: np.ndarray

        def fit(self, x: np.ndarray, _: np.ndarray, n_origins: int, value: float) -> Any:
            return nearest.fit(x, self.truth, n_origins, value)

    w = world(unknown=("ddpm", "flow"))
    result, parts = w.fit(nearest), w.extract()
    train = parts.tables["train"]
    # Test on training images, each of which is its own nearest neighbor.
    features = replace(parts, tables={**parts.tables, "test": train})
    known = replace(result.known, origins=train.origins)
    evaluated = replace(result, features=features, known=known)
    cheat: Any = Cheat(encode_labels(train.origins, result.model.origins))
    assert run_label_shuffle(evaluated, cheat, jobs=1).suspicious
    assert not run_label_shuffle(evaluated, nearest, jobs=1).suspicious
