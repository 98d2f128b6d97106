"""The main experiment, against searches written independently of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from whichgen.encoders.loading import load_encoder
from whichgen.encoders.weights_hash import hash_weights
from whichgen.errors import ConvergenceError, DataError, FitError, WhichgenWarning
from whichgen.evaluation.evaluate_predictions import evaluate
from whichgen.evaluation.oscr import compute_oscr
from whichgen.features.store import FeatureStore
from whichgen.training.fit_block import FitOptions, fit
from whichgen.training.parallel_sweeps import Sweep
from whichgen.training.split_features import SplitFeatures, extract_splits
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
    result = {}
    for block in (0, 1):
        for value in values:
            figures = []
            for known, unknown, part in folds:

                def rows(name: str, origins: Any, block: int = block) -> Any:
                    table = parts.tables[name]
                    mine = np.isin(table.origins, list(origins))
                    return table.read_block(block)[mine], table.origins[mine]

                x, origins = rows("train", known)
                y = np.array([known.index(o) for o in origins])
                val, val_origins = rows("val", known)
                out, _ = rows(part, unknown)
                p, q = classify(value, x, y, [val, out])
                right = p.argmax(axis=1) == [known.index(o) for o in val_origins]
                s, t = p.max(axis=1), q.max(axis=1)
                auc = roc_auc_score([1] * len(s) + [0] * len(t), [*s, *t])
                figures.append((right.mean(), auc, compute_oscr(s, right, t)))
            result[block, value] = np.mean(figures, axis=0)
    return result


@pytest.mark.parametrize("metric", ["AUC", "OSCR", "accuracy"])
@pytest.mark.parametrize(
    ("head_method", "classify", "tolerance"), [(LINEAR, logistic, 5e-3), (KNN, cosine_votes, 1e-3)]
)
def test_selection_equals_a_brute_force_search(
    world: Make, head_method: Any, classify: Any, tolerance: float, metric: str
) -> None:
    w = world(unknown=("ddpm", "flow"), unknown_val=("flow",))
    result = w.fit(head_method, metric=metric)
    folds = [(["real", "gan", "vae"], ["flow"], "val_unknown")]
    expected = search(w.extract(), classify, head_method.values, folds)
    assert [(c.block, c.value) for c in result.grid] == list(expected)
    for c in result.grid:
        figures = expected[c.block, c.value]
        assert (c.accuracy, c.auroc, c.oscr) == pytest.approx(tuple(figures), abs=tolerance)
    column = ("accuracy", "AUC", "OSCR").index(metric)
    best = max(figures[column] for figures in expected.values())
    chosen = expected[result.model.blocks[0], result.model.hyperparameter]
    assert chosen[column] >= best - tolerance
    assert result.metric == metric


def test_shared_unknown_generators_select_by_leaving_known_ones_out(
    world: Make,
) -> None:
    w = world(unknown=("flow",), share_unknown=True)
    result = w.fit(KNN)
    known = ["real", "ddpm", "gan", "vae"]
    assert sorted(known) == sorted(w.dataset.known)
    folds = [
        ([o for o in w.dataset.known if o != excluded], [excluded], "val")
        for excluded in ("gan", "vae", "ddpm")
    ]
    expected = search(w.extract(), cosine_votes, KNN.values, folds)
    for c in result.grid:
        figures = expected[c.block, c.value]
        assert (c.accuracy, c.auroc, c.oscr) == pytest.approx(tuple(figures), abs=1e-3)
    assert len(result.protocol.folds) == 3
    # The model itself knows all of them.
    assert result.model.origins == w.dataset.known


@pytest.mark.parametrize(("head_method", "classify"), [(LINEAR, logistic), (KNN, cosine_votes)])
def test_each_block_is_evaluated_at_its_own_best_value(
    world: Make, head_method: Any, classify: Any
) -> None:
    w = world(unknown=("ddpm", "flow"))
    result = w.fit(head_method)
    parts = w.extract()
    known = list(w.dataset.known)
    y = np.array([known.index(o) for o in parts.tables["train"].origins])
    truth = np.array([known.index(o) for o in parts.tables["test"].origins])
    assert [b.block for b in result.blocks] == [0, 1]
    for b in result.blocks:
        of_block = [c for c in result.grid if c.block == b.block]
        assert b.val_auroc == max(c.auroc for c in of_block)
        tables = [parts.tables[name].read_block(b.block) for name in ("train", "test")]
        out = parts.tables["test_unknown"].read_block(b.block)
        p, q = classify(b.value, tables[0], y, [tables[1], out])
        s, t = p.max(axis=1), q.max(axis=1)
        right = p.argmax(axis=1) == truth
        assert b.test_accuracy == pytest.approx(right.mean(), abs=1e-3)
        auc = roc_auc_score([1] * len(s) + [0] * len(t), [*s, *t])
        assert b.test_auroc == pytest.approx(auc, abs=5e-3)
        assert b.test_oscr == pytest.approx(compute_oscr(s, right, t), abs=5e-3)


def test_model_is_the_head_of_the_best_block_with_its_test_metrics(
    world: Make,
) -> None:
    w = world(unknown=("ddpm", "flow"))
    result = w.fit()
    model, parts = result.model, w.extract()
    (best,) = [b for b in result.blocks if b.block == model.blocks[0]]
    assert best.value == model.hyperparameter
    assert best.val_auroc == max(c.auroc for c in result.grid)
    answers = model.head.forward(parts.tables["test"].read_block(model.blocks[0])).probabilities
    assert np.array_equal(result.known.probabilities, answers)
    known_table, unknown_table = result.features.select_test_tables(result.protocol)
    assert known_table.samples == parts.tables["test"].samples
    assert unknown_table.samples == parts.tables["test_unknown"].samples
    assert result.evaluation == evaluate(
        result.known,
        result.unknown,
        model.origins,
        threshold=model.threshold,
        groups={},
        answers=result.answers,
    )
    assert model.metrics["accuracy"] == result.evaluation.closed.accuracy == best.test_accuracy
    assert model.metrics["oscr"] == result.evaluation.oscr == best.test_oscr
    assert model.metrics["auroc"] == best.test_auroc


@pytest.mark.parametrize("tpr", [0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("head_method", [LINEAR, KNN])
def test_threshold_accepts_the_smallest_share_of_validation_images_above_tpr(
    world: Make, head_method: Any, tpr: float
) -> None:
    w = world(unknown=("ddpm", "flow"))
    model = w.fit(head_method, tpr=tpr).model
    scores = model.head.forward(
        w.extract().tables["val"].read_block(model.blocks[0])
    ).probabilities.max(axis=1)
    assert np.mean(scores >= model.threshold) >= tpr - 1e-12
    # The threshold is a hair under the lowest score kept.
    assert np.mean(scores > model.threshold * (1 + 2e-6)) < tpr
    assert model.tpr == tpr


def test_test_images_do_not_influence_selection_head_or_threshold(world: Make) -> None:
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
    for name in ("value", "val_accuracy", "val_auroc", "val_oscr"):
        assert [getattr(b, name) for b in second.blocks] == [getattr(b, name) for b in first.blocks]


def test_clean_protocol_does_not_select_on_unknown_test_generators(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"), share_unknown=True)
    parts = w.extract()
    options = FitOptions(LINEAR, jobs=1)
    empty = parts.tables["val_unknown"].take([])
    without = SplitFeatures(parts.dataset, {**parts.tables, "val_unknown": empty})
    assert fit(parts, w.encoder, options).grid == fit(without, w.encoder, options).grid


def repeat_rows(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows as the reference implementation's ``ImageDataset(balance=True)`` yields them."""
    classes = [np.flatnonzero(y == label) for label in range(y.max() + 1)]
    length = max(map(len, classes))
    rows = [rows_of[index % len(rows_of)] for index in range(length) for rows_of in classes]
    return x[rows], y[rows]


@pytest.mark.parametrize(("head_method", "classify"), [(LINEAR, logistic), (KNN, cosine_votes)])
def test_paper_protocol_equals_a_search_on_repeated_rows(
    world: Make, head_method: Any, classify: Any
) -> None:
    counts = {"real": 40, "gan": 12, "vae": 21, "ddpm": 15, "flow": 15}
    w = world(counts, unknown=("ddpm", "flow"), share_unknown=True)
    folds = [(["real", "gan", "vae"], ["ddpm", "flow"], "val_unknown")]
    parts = w.extract()

    def classify_repeated(value: float, x: np.ndarray, y: np.ndarray, queries: Any) -> Any:
        return classify(value, *repeat_rows(x, y), queries)

    expected = search(parts, classify_repeated, head_method.values, folds)
    result = w.fit(head_method, protocol="paper")
    for c in result.grid:
        figures = tuple(expected[c.block, c.value])
        assert (c.accuracy, c.auroc, c.oscr) == pytest.approx(figures, abs=1e-3)
    best = max(expected, key=lambda setting: round(expected[setting][1], 6))
    assert (result.block, result.model.hyperparameter) == best
    assert result.evaluation.closed.accuracy == pytest.approx(expected[best][0], abs=1e-3)
    plain = search(parts, classify, head_method.values, folds)
    assert max(abs(plain[setting] - expected[setting]).max() for setting in plain) > 0.01


@pytest.mark.parametrize("head_method", [LINEAR, KNN])
def test_paper_protocol_tests_on_validation_images(world: Make, head_method: Any) -> None:
    w = world(unknown=("ddpm", "flow"), share_unknown=True)
    result = w.fit(head_method, protocol="paper")
    for b in result.blocks:
        assert b.test_accuracy == b.val_accuracy
    known_table, _ = result.features.select_test_tables(result.protocol)
    assert known_table.samples == w.extract().tables["val"].samples
    assert result.evaluation.closed.accuracy == max(
        c.accuracy
        for c in result.grid
        if (c.block, c.value) == (result.model.blocks[0], result.model.hyperparameter)
    )
    assert any("PROTOCOL OF THE REFERENCE IMPLEMENTATION" in note for note in result.protocol.notes)


def test_fit_does_not_change_the_encoder(
    tiny_clip: Path, image_folder: Make, world: Make, tmp_path: Path
) -> None:
    encoder = load_encoder(str(tiny_clip), device="cpu")
    module = inspect.getclosurevars(encoder.encode).nonlocals["forward"].module
    before = hash_weights(module)
    w = world(dict.fromkeys(("real", "gan", "vae"), 8), unknown=("vae",))
    parts = extract_splits(w.dataset, encoder, FeatureStore(tmp_path / "clip", encoder))
    result = fit(parts, encoder, FitOptions(LINEAR, jobs=1))
    assert len(result.blocks) == 3
    assert hash_weights(module) == before
    assert not module.training
    assert not any(p.requires_grad or p.grad is not None for p in module.parameters())


def test_values_that_do_not_converge_are_named_and_never_selected(
    world: Make, fail_to_converge: Make
) -> None:
    w = world(unknown=("ddpm", "flow"), unknown_val=("flow",))
    best = w.fit().model.hyperparameter
    w = world(name="again", unknown=("ddpm", "flow"), unknown_val=("flow",))
    fail_to_converge(best)
    note = rf"the solver did not converge at C = {best:g} \(block 0, 1\); these values"
    with pytest.warns(WhichgenWarning, match=note):
        result = w.fit(replace(LINEAR, max_iter=999))  # not the cached sweeps
    assert re.search(note, result.note)
    left = [value for value in LINEAR.values if value != best]
    assert [c.value for c in result.grid] == left * 2
    assert {b.value for b in result.blocks} <= {*left}
    with pytest.warns(WhichgenWarning, match=note):  # also from the cache
        assert w.fit(replace(LINEAR, max_iter=999)).grid == result.grid


def test_next_best_value_if_the_best_fails_on_all_training_images(
    world: Make, fail_to_converge: Make
) -> None:
    w = world(unknown=("flow",), share_unknown=True)
    first = w.fit()
    assert len(first.protocol.folds) == 3
    n_train = len(w.extract().tables["train"])
    fail_to_converge(first.model.hyperparameter, n_images=n_train)
    with pytest.warns(WhichgenWarning, match=rf"C = {first.model.hyperparameter:g} \(block"):
        second = w.fit()
    assert second.grid == first.grid
    assert second.model.hyperparameter != first.model.hyperparameter
    for b in second.blocks:
        rest = [c for c in first.grid if c.block == b.block]
        rest = [c for c in rest if c.value != first.model.hyperparameter]
        assert b.val_auroc == max(c.auroc for c in rest)


def test_no_value_converges(world: Make, fail_to_converge: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    fail_to_converge(*LINEAR.values)
    with pytest.raises(
        ConvergenceError, match=r"the solver did not converge at C = 0.1 \(block 0, 1\), 10 .*"
    ):
        w.fit()


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


def test_second_run_encodes_nothing_and_sweeps_nothing(world: Make, sweeps: list[int]) -> None:
    w = world(unknown=("ddpm", "flow"))
    first = w.fit()
    assert sweeps == [0, 1]
    assert w.counting.images == sum(COUNTS.values())
    second = w.fit()
    assert sweeps == [0, 1]
    assert w.counting.images == sum(COUNTS.values())
    assert second.grid == first.grid
    assert second.evaluation == first.evaluation


def test_new_settings_are_swept_again(world: Make, sweeps: list[int]) -> None:
    w = world(unknown=("ddpm", "flow"))
    w.fit()
    w.fit(replace(LINEAR, values=(0.1, 10.0)))
    w.fit(replace(LINEAR, max_iter=999))
    w.fit(KNN)
    assert sweeps == [0, 1] * 4
    # A choice among what is swept already needs no sweep.
    w.fit(metric="OSCR", tpr=0.5, blocks=(1,))
    assert sweeps == [0, 1] * 4


def test_interrupted_sweep_resumes(world: Make, sweeps: list[int]) -> None:
    w = world(unknown=("ddpm", "flow"))
    sweeps.append(-2)  # stop at block 1
    with pytest.raises(KeyboardInterrupt):
        w.fit()
    assert sweeps == [-2, 0]
    sweeps.clear()
    assert [c.block for c in w.fit().grid] == [0] * 3 + [1] * 3
    assert sweeps == [1]


def test_blocks_are_tried_once_in_ascending_order(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    assert [c.block for c in w.fit(KNN, blocks=(1, 0, 1)).grid] == [0] * 5 + [1] * 5
    result = w.fit(KNN, blocks=(1,))
    assert result.model.blocks[0] == 1
    assert [b.block for b in result.blocks] == [1]


@pytest.mark.parametrize("blocks", [(2,), (0, -1), (7, 2)])
def test_missing_block_raises_fit_error(world: Make, blocks: tuple[int, ...]) -> None:
    stray = ", ".join(str(b) for b in sorted(blocks) if b not in (0, 1))
    w = world(unknown=("ddpm", "flow"))
    with pytest.raises(FitError, match=f"counting has no block {stray}. Choose from 0 to 1"):
        w.fit(blocks=blocks)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"metric": "F1"}, FitError, "unknown selection metric 'F1'"),
        ({"protocol": "open"}, DataError, "unknown protocol 'open'"),
        ({"tpr": 0}, FitError, "`tpr` 0: .*greater than 0 and at most 1"),
        ({"tpr": 1.01}, FitError, "`tpr` 1.01"),
        ({"tpr": float("nan")}, FitError, "`tpr` nan"),
    ],
)
def test_invalid_option_raises_before_any_computation(
    wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        FitOptions(LINEAR, **wrong)


@pytest.mark.parametrize("head_method", [LINEAR, KNN])
def test_fit_without_unknown_images_has_closed_set_metrics(world: Make, head_method: Any) -> None:
    w = world({"real": 10, "gan": 10})
    result = w.fit(head_method)
    assert result.evaluation.detection is None
    assert result.model.metrics["auroc"] is None
    assert len(result.unknown) == 0
    assert result.blocks[0].test_auroc is None
    assert any("closed-set accuracy" in note for note in result.protocol.notes)
    best = max(c.accuracy for c in result.grid)
    assert next(c for c in result.grid if c.accuracy == best).value == result.model.hyperparameter


def test_run_metadata_describes_the_fit(world: Make) -> None:
    w = world(unknown=("ddpm", "flow"))
    options = FitOptions(LINEAR, metric="OSCR", seed=3, jobs=1)
    parts = w.extract()
    result = fit(parts, w.encoder, options, config={"data": "images", "blocks": []})
    record = result.model.run_metadata
    assert record["config"] == {
        "data": "images",
        "blocks": [],
        "protocol": "clean",
        "metric": "OSCR",
    }
    assert record["seeds"] == {"seed": 3}
    assert record["encoder"] == result.model.encoder == w.encoder.describe()
    assert record["data_hash"] == result.model.data_hash == parts.data_hash
    assert record["whichgen"] == __version__
    assert set(record["libraries"]) >= {"numpy", "torch", "scikit-learn", "faiss-cpu"}
    age = datetime.now(UTC) - datetime.fromisoformat(record["time"])
    assert timedelta(0) <= age + timedelta(seconds=1) < timedelta(minutes=5)
    assert {"python", "machine", "command"} <= set(record)


def test_model_holds_exemplars_of_training_and_validation_images(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whichgen.training.exemplars.EXEMPLARS_PER_ORIGIN", (4, 2))
    w = world(unknown=("ddpm", "flow"))
    result = w.fit()
    exemplars = result.model.exemplars
    for part, held_out, most in (("train", False, 4), ("val", True, 2)):
        table = w.extract().tables[part]
        features, labels = exemplars.select(held_out=held_out)
        assert np.bincount(labels).tolist() == [most] * 3
        everything = table.read_block(result.block)
        for row, label in zip(features, labels, strict=True):
            of_origin = table.origins == result.model.origins[label]
            assert np.isclose(everything[of_origin], row, rtol=2e-3).all(axis=1).any()
        assert len(np.unique(features, axis=0)) == len(features)
