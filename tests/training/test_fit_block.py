"""The main experiment, against searches written independently of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import whichgen.training.finalize as tested_module
from whichgen.encoders.base import hash_weights
from whichgen.encoders.loading import load_encoder
from whichgen.errors import DataError, FitError
from whichgen.evaluation.all_metrics import evaluate
from whichgen.evaluation.oscr import oscr
from whichgen.features.store import FeatureStore
from whichgen.training.fit_block import FitOptions, fit
from whichgen.training.split_features import SplitFeatures, extract_splits
from whichgen.training.sweeps import Sweep
from whichgen.version import __version__

from .conftest import COUNTS, KNN, LINEAR

Make = Callable[..., Any]


def logistic(value: float, x: np.ndarray, y: np.ndarray, queries: list[np.ndarray]) -> Any:
    """Probabilities by scikit-learn."""
    model = LogisticRegression(C=value, tol=1e-9, max_iter=100_000)
    model.fit(x.astype(np.float64), y)
    return [model.predict_proba(q) for q in queries]


def cosine_votes(value: float, x: np.ndarray, y: np.ndarray, queries: list[np.ndarray]) -> Any:
    """Probabilities of k-NN by sorting all cosines."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    answers = []
    for q in queries:
        cosines = q / np.linalg.norm(q, axis=1, keepdims=True) @ x.T
        nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : int(value)]
        votes = np.zeros((len(q), y.max() + 1))
        for row, columns in enumerate(nearest):
            np.add.at(votes[row], y[columns], cosines[row, columns])
        answers.append(votes / votes.sum(axis=1, keepdims=True))
    return answers


def search(
    parts: SplitFeatures, classify: Any, values: tuple[float, ...], folds: list[Any]
) -> dict[tuple[int, float], np.ndarray]:
    """(accuracy, AUROC, OSCR) of each block and value, averaged over (known, unknown, part)."""
    found = {}
    for block in (0, 1):
        for value in values:
            figures = []
            for known, unknown, part in folds:

                def rows(name: str, origins: Any, block: int = block) -> Any:
                    table = parts.tables[name]
                    mine = np.isin(table.origins, list(origins))
                    return table.block(block)[mine], table.origins[mine]

                x, origins = rows("train", known)
                y = np.array([known.index(o) for o in origins])
                val, val_origins = rows("val", known)
                out, _ = rows(part, unknown)
                p, q = classify(value, x, y, [val, out])
                right = p.argmax(axis=1) == [known.index(o) for o in val_origins]
                s, t = p.max(axis=1), q.max(axis=1)
                auc = roc_auc_score([1] * len(s) + [0] * len(t), [*s, *t])
                figures.append((right.mean(), auc, oscr(s, right, t)))
            found[block, value] = np.mean(figures, axis=0)
    return found


@pytest.mark.parametrize("metric", ["AUC", "OSCR", "accuracy"])
@pytest.mark.parametrize(
    ("head_method", "classify", "tolerance"), [(LINEAR, logistic, 5e-3), (KNN, cosine_votes, 1e-3)]
)
def test_the_choice_is_that_of_a_brute_force_search(
    world: Make, head_method: Any, classify: Any, tolerance: float, metric: str
) -> None:
    w = world(unknown=("ddpm", "flow"), unknown_val=("flow",))
    found = w.fit(head_method, metric=metric)
    folds = [(["real", "gan", "vae"], ["flow"], "val_unknown")]
    expected = search(w.extract(), classify, head_method.values, folds)
    assert [(c.block, c.value) for c in found.grid] == list(expected)
    for c in found.grid:
        figures = expected[c.block, c.value]
        assert (c.accuracy, c.auroc, c.oscr) == pytest.approx(tuple(figures), abs=tolerance)
    column = ("accuracy", "AUC", "OSCR").index(metric)
    best = max(figures[column] for figures in expected.values())
    chosen = expected[found.model.blocks[0], found.model.hyperparameter]
    assert chosen[column] >= best - tolerance
    assert found.metric == metric


def test_with_shared_unknown_generators_the_choice_is_made_by_leaving_known_ones_out(
    world: Make,
) -> None:
    w = world(unknown=("flow",), share_unknown=True)
    found = w.fit(KNN)
    known = ["real", "ddpm", "gan", "vae"]
    assert sorted(known) == sorted(w.dataset.known)
    folds = [
        ([o for o in w.dataset.known if o != left_out], [left_out], "val")
        for left_out in ("gan", "vae", "ddpm")
    ]
    expected = search(w.extract(), cosine_votes, KNN.values, folds)
    for c in found.grid:
        figures = expected[c.block, c.value]
        assert (c.accuracy, c.auroc, c.oscr) == pytest.approx(tuple(figures), abs=1e-3)
    assert len(found.protocol.folds) == 3
    # The model itself knows all of them.
    assert found.model.origins == w.dataset.known


@pytest.mark.parametrize(("head_method", "classify"), [(LINEAR, logistic), (KNN, cosine_votes)])
def test_each_block_is_tested_at_its_own_best_value(
    world: Make, head_method: Any, classify: Any
) -> None:
    w = world(unknown=("ddpm", "flow"))
    found = w.fit(head_method)
    parts = w.extract()
    known = list(w.dataset.known)
    y = np.array([known.index(o) for o in parts.tables["train"].origins])
    truth = np.array([known.index(o) for o in parts.tables["test"].origins])
    assert [b.validation.block for b in found.blocks] == [0, 1]
    for b in found.blocks:
        of_block = [c for c in found.grid if c.block == b.validation.block]
        assert b.validation == max(of_block, key=lambda c: c.auroc)
        tables = [parts.tables[name].block(b.validation.block) for name in ("train", "test")]
        out = parts.tables["test_unknown"].block(b.validation.block)
        p, q = classify(b.validation.value, tables[0], y, [tables[1], out])
        s, t = p.max(axis=1), q.max(axis=1)
        right = p.argmax(axis=1) == truth
        assert b.test.accuracy == pytest.approx(right.mean(), abs=1e-3)
        auc = roc_auc_score([1] * len(s) + [0] * len(t), [*s, *t])
        assert b.test.auroc == pytest.approx(auc, abs=5e-3)
        assert b.test.oscr == pytest.approx(oscr(s, right, t), abs=5e-3)


def test_the_model_is_the_best_block_s_head_and_its_figures_are_the_evaluation_s(
    world: Make,
) -> None:
    w = world(unknown=("ddpm", "flow"))
    found = w.fit()
    model, parts = found.model, w.extract()
    (best,) = [b for b in found.blocks if b.validation.block == model.blocks[0]]
    assert best.validation.value == model.hyperparameter
    assert best.validation.auroc == max(c.auroc for c in found.grid)
    answers = model.head.forward(parts.tables["test"].block(model.blocks[0])).probabilities
    assert np.array_equal(found.known.probabilities, answers)
    assert found.known_table.samples == parts.tables["test"].samples
    assert found.unknown_table.samples == parts.tables["test_unknown"].samples
    assert found.evaluation == evaluate(
        found.known, found.unknown, model.origins, threshold=model.threshold, groups={}
    )
    assert model.metrics["accuracy"] == found.evaluation.closed.accuracy == best.test.accuracy
    assert model.metrics["oscr"] == found.evaluation.oscr == best.test.oscr
    assert model.metrics["auroc"] == best.test.auroc


@pytest.mark.parametrize("tpr", [0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("head_method", [LINEAR, KNN])
def test_the_threshold_keeps_the_share_asked_for_of_known_validation_images_and_no_more(
    world: Make, head_method: Any, tpr: float
) -> None:
    w = world(unknown=("ddpm", "flow"))
    model = w.fit(head_method, tpr=tpr).model
    scores = model.head.forward(w.extract().tables["val"].block(model.blocks[0])).probabilities.max(
        axis=1
    )
    assert np.mean(scores >= model.threshold) >= tpr - 1e-12
    # The threshold is a hair under the lowest score kept.
    assert np.mean(scores > model.threshold * (1 + 2e-6)) < tpr
    assert model.tpr == tpr


def test_test_images_never_influence_choice_head_or_threshold(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    parts = w.extract()
    options = FitOptions(LINEAR, jobs=1)
    first = fit(parts, w.encoder, options)
    tables = dict(parts.tables)
    rng = np.random.default_rng(0)
    for part in ("test", "test_unknown"):
        table = tables[part]
        order = rng.permutation(len(table))
        samples = tuple(
            replace(s, origin=table.samples[i].origin)
            for s, i in zip(table.samples, order, strict=True)
        )
        tables[part] = replace(table, samples=samples)
    tables["test"] = tables["test"].take(range(5))
    second = fit(SplitFeatures(parts.dataset, tables), w.encoder, options)
    assert second.grid == first.grid
    for part in ("blocks", "hyperparameter", "threshold"):
        assert getattr(second.model, part) == getattr(first.model, part)
    for name, array in first.model.head.tensors().items():
        assert np.array_equal(second.model.head.tensors()[name], array)
    assert [b.validation for b in second.blocks] == [b.validation for b in first.blocks]


def test_unknown_generators_of_the_test_choose_nothing_under_clean(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"), share_unknown=True)
    parts = w.extract()
    options = FitOptions(LINEAR, jobs=1)
    empty = parts.tables["val_unknown"].take([])
    without = SplitFeatures(parts.dataset, {**parts.tables, "val_unknown": empty})
    assert fit(parts, w.encoder, options).grid == fit(without, w.encoder, options).grid


@pytest.mark.parametrize("head_method", [LINEAR, KNN])
def test_under_paper_known_test_figures_are_validation_s_own(world: Make, head_method: Any) -> None:
    w = world(unknown=("ddpm", "flow"), share_unknown=True)
    found = w.fit(head_method, protocol="paper")
    for b in found.blocks:
        assert b.test.accuracy == b.validation.accuracy
    assert found.known_table.samples == w.extract().tables["val"].samples
    assert found.evaluation.closed.accuracy == max(
        c.accuracy
        for c in found.grid
        if (c.block, c.value) == (found.model.blocks[0], found.model.hyperparameter)
    )
    assert any("PROTOCOL OF THE REFERENCE IMPLEMENTATION" in note for note in found.notes)


def test_a_fit_does_not_change_the_encoder(
    tiny_clip: Path, image_folder: Make, world: Make, tmp_path: Path
) -> None:
    encoder = load_encoder(str(tiny_clip), device="cpu")
    module = inspect.getclosurevars(
        inspect.getclosurevars(encoder.encode).nonlocals["forward"]
    ).nonlocals["module"]
    before = hash_weights(module)
    w = world(dict.fromkeys(("real", "gan", "vae"), 8), unknown=("vae",))
    parts = extract_splits(w.dataset, encoder, FeatureStore(tmp_path / "clip", encoder))
    found = fit(parts, encoder, FitOptions(LINEAR, jobs=1))
    assert len(found.blocks) == 3
    assert hash_weights(module) == before
    assert not module.training
    assert not any(p.requires_grad or p.grad is not None for p in module.parameters())


@pytest.fixture
def sweeps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The swept blocks; a first item of -1 - n interrupts the sweep of block n."""
    read = Sweep.read_arguments
    blocks: list[int] = []

    def record(sweep: Sweep) -> Any:
        if blocks and blocks[0] == -sweep.block - 1:
            raise KeyboardInterrupt
        blocks.append(sweep.block)
        return read(sweep)

    monkeypatch.setattr(Sweep, "read_arguments", record)
    return blocks


def test_a_second_run_encodes_nothing_and_sweeps_nothing(world: Make, sweeps: list[int]) -> None:
    w = world(unknown=("ddpm", "flow"))
    first = w.fit()
    assert sweeps == [0, 1]
    assert w.counting.images == sum(COUNTS.values())
    second = w.fit()
    assert sweeps == [0, 1]
    assert w.counting.images == sum(COUNTS.values())
    assert second.grid == first.grid
    assert second.evaluation == first.evaluation


def test_other_settings_are_swept_anew(world: Make, sweeps: list[int]) -> None:
    w = world(unknown=("ddpm", "flow"))
    w.fit()
    w.fit(replace(LINEAR, values=(0.1, 10.0)))
    w.fit(replace(LINEAR, max_iter=999))
    w.fit(KNN)
    assert sweeps == [0, 1] * 4
    # A choice among what is swept already needs no sweep.
    w.fit(metric="OSCR", tpr=0.5, blocks=(1,))
    assert sweeps == [0, 1] * 4


def test_an_interrupted_sweep_goes_on_where_it_was(world: Make, sweeps: list[int]) -> None:
    w = world(unknown=("ddpm", "flow"))
    sweeps.append(-2)  # stop at block 1
    with pytest.raises(KeyboardInterrupt):
        w.fit()
    assert sweeps == [-2, 0]
    sweeps.clear()
    assert [c.block for c in w.fit().grid] == [0] * 3 + [1] * 3
    assert sweeps == [1]


def test_blocks_are_tried_once_each_in_ascending_order_however_they_are_named(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    assert [c.block for c in w.fit(KNN, blocks=(1, 0, 1)).grid] == [0] * 5 + [1] * 5
    found = w.fit(KNN, blocks=(1,))
    assert found.model.blocks[0] == 1
    assert [b.validation.block for b in found.blocks] == [1]


@pytest.mark.parametrize("blocks", [(2,), (0, -1), (7, 2)])
def test_a_block_that_there_is_not_is_told(world: Make, blocks: tuple[int, ...]) -> None:
    stray = ", ".join(str(b) for b in sorted(blocks) if b not in (0, 1))
    w = world(unknown=("ddpm", "flow"))
    with pytest.raises(
        FitError, match=f"counting has no block {stray}; its 2 blocks count from 0 to 1"
    ):
        w.fit(blocks=blocks)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"metric": "F1"}, FitError, "unknown selection metric 'F1'"),
        ({"protocol": "open"}, DataError, "unknown protocol 'open'"),
        ({"tpr": 0}, FitError, "--tpr 0: .*over 0 and at most 1"),
        ({"tpr": 1.01}, FitError, "--tpr 1.01"),
        ({"tpr": float("nan")}, FitError, "--tpr nan"),
    ],
)
def test_a_wrong_option_is_told_before_anything_is_computed(
    wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        FitOptions(LINEAR, **wrong)


@pytest.mark.parametrize("head_method", [LINEAR, KNN])
def test_without_unknown_images_a_model_is_fitted_and_closed_set_figures_are_there(
    world: Make, head_method: Any
) -> None:
    w = world({"real": 10, "gan": 10})
    found = w.fit(head_method)
    assert found.evaluation.detection is None
    assert found.model.metrics["auroc"] is None
    assert len(found.unknown) == 0
    assert found.blocks[0].test.auroc is None
    assert any("closed-set accuracy" in note for note in found.notes)
    best = max(c.accuracy for c in found.grid)
    assert next(c for c in found.grid if c.accuracy == best).value == found.model.hyperparameter


def test_the_record_says_what_made_the_model(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    options = FitOptions(LINEAR, metric="OSCR", seed=3, jobs=1)
    parts = w.extract()
    found = fit(parts, w.encoder, options, config={"data": "images", "blocks": []})
    record = found.model.run_metadata
    assert record["config"] == {
        "data": "images",
        "blocks": [],
        "protocol": "clean",
        "metric": "OSCR",
    }
    assert record["seeds"] == {"seed": 3}
    assert record["encoder"] == found.model.encoder == w.encoder.describe()
    assert record["data_hash"] == found.model.data_hash == parts.data_hash
    assert record["whichgen"] == __version__
    assert set(record["libraries"]) >= {"numpy", "torch", "scikit-learn", "faiss-cpu"}
    age = datetime.now(UTC) - datetime.fromisoformat(record["time"])
    assert timedelta(0) <= age + timedelta(seconds=1) < timedelta(minutes=5)
    assert {"python", "machine", "command"} <= set(record)


def test_the_model_keeps_features_of_training_and_of_validation_images(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tested_module, "EXEMPLARS_PER_ORIGIN", (4, 2))
    w = world(unknown=("ddpm", "flow"))
    found = w.fit()
    kept = found.model.exemplars
    assert kept is not None
    for part, held_out, most in (("train", False, 4), ("val", True, 2)):
        table = w.extract().tables[part]
        features, labels = kept.select(held_out=held_out)
        assert np.bincount(labels).tolist() == [most] * 3
        everything = table.block(found.block)
        for row, label in zip(features, labels, strict=True):
            of_origin = table.origins == found.model.origins[label]
            assert np.isclose(everything[of_origin], row, rtol=2e-3).all(axis=1).any()
        assert len(np.unique(features, axis=0)) == len(features)
