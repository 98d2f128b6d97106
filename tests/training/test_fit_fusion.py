"""Fusion: selection and metrics against independent computations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from whichgen.data.splits.split_images import split_folder
from whichgen.data.splits.split_options import SplitOptions
from whichgen.encoders.combinations import combine_encoders
from whichgen.encoders.encoder import Encoder
from whichgen.errors import ConvergenceError, FitError, WhichgenWarning
from whichgen.evaluation.oscr import compute_oscr
from whichgen.evaluation.predictions import encode_labels
from whichgen.features.store import FeatureStore
from whichgen.features.table import FeatureTable
from whichgen.heads.experts import ExpertsHead
from whichgen.heads.fusion import FusionMethod
from whichgen.models.saved_model import load_model, save_model
from whichgen.training.fit_fusion import (
    FusionOptions,
    _select_with_margin,
    fuse,
)
from whichgen.training.fit_views import AGREEMENT, list_member_sets
from whichgen.training.selection import FusionCandidate, get_metric
from whichgen.training.split_features import (
    FITTING_SPLITS,
    SplitFeatures,
    extract_splits,
    name_perturbed_table,
)

COUNTS = dict.fromkeys(("real", "gan", "vae", "ddpm", "flow"), 15)
OPTIONS = FusionOptions(values=(1.0, 100.0), jobs=1)
HELD_OUT: dict[str, Any] = {"unknown": ("ddpm", "flow"), "unknown_val": ("ddpm",)}


@pytest.fixture
def encoder(counting: Callable[..., Any]) -> Encoder:
    """Two members of one vote each, shared by blocks of 12 and 48 values."""
    return combine_encoders([counting().encoder, counting(weights="1" * 32).encoder])


@pytest.fixture
def make_parts(
    image_folder: Callable[..., Path], encoder: Encoder, tmp_path: Path
) -> Callable[..., SplitFeatures]:
    """The features of a split folder; keywords are those of :class:`SplitOptions`."""

    def make(counts: dict[str, int] | None = None, **keywords: Any) -> SplitFeatures:
        folder = image_folder(counts or COUNTS)
        dataset = split_folder(folder, SplitOptions(**keywords), near_distance=-1)
        return extract_splits(dataset, encoder, FeatureStore(tmp_path / "store", encoder))

    return make


def test_member_sets_are_all_subsets(counting: Callable[..., Any]) -> None:
    assert list_member_sets(counting().encoder) == {"counting": ((0, 1),)}
    three = combine_encoders([counting(weights=w * 32).encoder for w in "abc"])
    result = list_member_sets(
        replace(three, preprocessing={"members": [{"name": n} for n in "abc"]})
    )
    assert result["a"] == ((0, 1),)
    assert result["a + c"] == ((0, 1), (4, 5))
    assert list(result)[-1] == "a + b + c"
    assert len(result) == 7


def test_member_sets_include_one_vote_each(
    counting: Callable[..., Any],
) -> None:
    plain = counting().encoder
    fine = replace(counting(weights="1" * 32).encoder, name="fine", block_groups=(((0,), (1,)),))
    result = list_member_sets(combine_encoders([plain, fine]))
    assert result == {
        "counting": ((0, 1),),
        "fine": ((2,), (3,)),
        "counting + fine, one vote each": ((0, 1), (2, 3)),
        "counting + fine": ((0, 1), (2,), (3,)),
    }
    assert list(result)[-1] == "counting + fine"


def test_metrics_equal_those_of_an_independent_fit(
    make_parts: Callable[..., SplitFeatures], encoder: Encoder
) -> None:
    parts = make_parts(**HELD_OUT)
    result = fuse(parts, encoder, OPTIONS)
    known, model = parts.dataset.known, result.model
    widths = tuple(encoder.block_dims[b] for b in model.blocks)
    votes = (2,) * (len(widths) // 2)

    def of(part: str, origins: tuple[str, ...]) -> FeatureTable:
        table = parts.tables[part]
        return table.take(np.flatnonzero(np.isin(table.origins, origins)))

    def figures(
        known: tuple[str, ...], test: FeatureTable, unknown: FeatureTable
    ) -> tuple[float, float]:
        train = of("train", known)
        labels = encode_labels(train.origins, known)
        x = train.read_blocks(model.blocks)
        head_method = FusionMethod(widths, result.best.shrinkage, votes)
        head = head_method.fit(x, labels, len(known), model.hyperparameter)
        scores = [head.forward(t.read_blocks(model.blocks)).logits for t in (test, unknown)]
        truth = np.repeat([1, 0], [len(scores[0]), len(scores[1])])
        right = scores[0].argmax(axis=1) == encode_labels(test.origins, known)
        return float(right.mean()), float(roc_auc_score(truth, np.concatenate(scores).max(axis=1)))

    (row,) = [c for c in result.scores if c.score == AGREEMENT]
    assert result.protocol.folds[0].unknown == ("ddpm",)
    assert {fold.unknown for fold in result.protocol.folds[1:]} == {("gan",), ("vae",)}
    by_fold = [
        figures(f.known, of("val", f.known), of(f.unknown_split, f.unknown))
        for f in result.protocol.folds
    ]
    assert (row.accuracy, row.auroc) == pytest.approx(np.mean(by_fold, axis=0), abs=0.01)
    test_figures = figures(known, of("test", known), of("test_unknown", ("flow",)))
    assert (row.test_accuracy, row.test_auroc) == pytest.approx(test_figures, abs=0.01)
    best = max(
        (c for c in result.grid if c.members == result.members[-1].members),
        key=lambda c: get_metric(c, "OSCR"),
    )
    assert (result.best.value, result.best.shrinkage) == (best.value, best.shrinkage)
    assert len(result.grid) == len(result.members) * len(OPTIONS.values) * len(OPTIONS.shrinkages)
    assert result.evaluation.closed.accuracy == result.best.test_accuracy
    assert result.evaluation.oscr == pytest.approx(result.best.test_oscr)


def test_settings_at_which_a_probe_does_not_converge_are_named_and_left_out(
    make_parts: Callable[..., SplitFeatures],
    encoder: Encoder,
    fail_to_converge: Callable[..., None],
) -> None:
    parts = make_parts(**HELD_OUT)
    fail_to_converge(100.0)
    options = replace(OPTIONS, shrinkages=(0.3,))
    with pytest.warns(WhichgenWarning, match=r"not converge at C = 100 \(shrinkage 0.3\). These"):
        result = fuse(parts, encoder, options)
    assert {c.value for c in result.grid} == {1.0}
    assert result.model.hyperparameter == 1.0
    alone = fuse(parts, encoder, replace(options, values=(1.0,)))
    assert alone.evaluation == result.evaluation
    fail_to_converge(1.0, 100.0)
    with pytest.raises(
        ConvergenceError, match=r"at C = 1 .*, C = 100 .*\. Use smaller values of C"
    ):
        fuse(parts, encoder, options)


def test_test_images_do_not_influence_the_model(
    make_parts: Callable[..., SplitFeatures], encoder: Encoder
) -> None:
    parts = make_parts(**HELD_OUT)
    first = fuse(parts, encoder, OPTIONS)
    tables = dict(parts.tables)
    tables["test"] = tables["test"].take(range(0, len(tables["test"]), 2))
    tables["test_unknown"] = tables["test_unknown"].take([0])
    second = fuse(SplitFeatures(parts.dataset, tables), encoder, OPTIONS)
    for part in ("blocks", "hyperparameter", "threshold", "temperature", "score_method"):
        assert getattr(second.model, part) == getattr(first.model, part)
    for name, array in first.model.head.tensors().items():
        assert np.array_equal(second.model.head.tensors()[name], array), name


@pytest.mark.parametrize("score", ["max_logit", "relative_mahalanobis", "openmax", "nearest"])
def test_saved_model_predicts_like_the_evaluated_one(
    make_parts: Callable[..., SplitFeatures], encoder: Encoder, tmp_path: Path, score: str
) -> None:
    parts = make_parts(**HELD_OUT)
    result = fuse(parts, encoder, replace(OPTIONS, scores=(score,)))
    assert result.model.score_method == score
    again = load_model(save_model(result.model, tmp_path / "model"))
    known_table, _ = result.features.select_test_tables(result.protocol)
    probabilities, scores = again.predict(known_table.read_blocks(again.blocks))
    assert np.array_equal(probabilities, result.known.probabilities)
    assert np.array_equal(scores, result.known.scores)
    assert again.temperature == result.model.temperature
    assert (result.known.scores >= again.threshold).mean() == result.evaluation.acceptance_rate


def test_shared_unknown_generators_are_not_selected_on(
    make_parts: Callable[..., SplitFeatures], encoder: Encoder
) -> None:
    parts = make_parts(unknown=("flow",), share_unknown=True)
    first = fuse(parts, encoder, OPTIONS)
    tables = dict(parts.tables)
    for part in ("val_unknown", "test_unknown"):
        tables[part] = tables[part].take([0])
    second = fuse(SplitFeatures(parts.dataset, tables), encoder, OPTIONS)
    assert [
        replace(c, test_accuracy=None, test_auroc=None, test_oscr=None) for c in first.scores
    ] == [replace(c, test_accuracy=None, test_auroc=None, test_oscr=None) for c in second.scores]
    assert "known generators held out" in first.protocol.notes[0]


def test_fusion_without_unknown_images_selects_by_accuracy(
    make_parts: Callable[..., SplitFeatures], encoder: Encoder
) -> None:
    result = fuse(make_parts(counts={"real": 15, "gan": 15}), encoder, OPTIONS)
    assert result.evaluation.oscr is None
    assert result.best.oscr is None
    assert result.best.accuracy == max(
        c.accuracy for c in result.grid if c.members == result.members[-1].members
    )


def candidate(score: str, value: float) -> FusionCandidate:
    return FusionCandidate("a", 1.0, 1.0, score, 0.9, value, value)


def test_usual_candidate_is_selected_unless_another_is_better_by_a_margin() -> None:
    usual = candidate(AGREEMENT, 0.80)
    assert _select_with_margin(usual, [candidate("energy", 0.819), usual], "OSCR", 0.02) is usual
    better = candidate("energy", 0.83)
    assert _select_with_margin(usual, [usual, better], "OSCR", 0.02) is better


def test_temperature_changes_no_prediction(
    make_parts: Callable[..., SplitFeatures], encoder: Encoder
) -> None:
    result = fuse(make_parts(**HELD_OUT), encoder, OPTIONS)
    known_table, _ = result.features.select_test_tables(result.protocol)
    logits = result.model.head.forward(known_table.read_blocks(result.model.blocks)).logits
    assert np.array_equal(logits.argmax(axis=1), result.known.predicted)
    scaled = np.exp(logits / result.model.temperature)
    expected = scaled / scaled.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(result.known.probabilities, expected)


@pytest.mark.parametrize("shrinkage", [1.0, 0.1])
def test_fusion_uses_the_given_shrinkage(
    make_parts: Callable[..., SplitFeatures], encoder: Encoder, shrinkage: float
) -> None:
    result = fuse(make_parts(**HELD_OUT), encoder, replace(OPTIONS, shrinkages=(shrinkage,)))
    assert {c.shrinkage for c in (*result.grid, *result.scores)} == {shrinkage}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"values": ()}, "at least one C"),
        ({"values": (-1.0,)}, "C is -1, but it must be positive"),
        ({"values": (1.0, float("inf"))}, "C is inf, but it must be positive and finite"),
        ({"scores": ("magic",)}, "unknown open-set score 'magic'"),
        ({"scores": ()}, "one open-set score"),
        ({"shrinkages": ()}, "one shrinkage"),
    ],
)
def test_invalid_options_raise_fit_error(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(FitError, match=message):
        FusionOptions(**wrong)


def test_perturbed_copies_get_experts_with_the_settings_of_unchanged_images(
    image_folder: Callable[..., Path], encoder: Encoder, tmp_path: Path
) -> None:
    dataset = split_folder(image_folder(COUNTS), SplitOptions(**HELD_OUT), near_distance=-1)
    store = FeatureStore(tmp_path / "store", encoder)
    plain = fuse(extract_splits(dataset, encoder, store), encoder, OPTIONS)
    parts = extract_splits(
        dataset, encoder, store, augment=("blur", "crop"), augmented_splits=FITTING_SPLITS
    )
    train = parts.tables["train"]
    assert sorted(set(train.kinds.tolist())) == ["", "blur", "crop"]
    result = fuse(parts, encoder, OPTIONS)
    assert result.best == plain.best
    assert (result.members, result.grid) == (plain.members, plain.grid)
    assert plain.experts == ()
    assert [kind for kind, _ in result.experts] == ["", "blur", "crop"]
    head = result.model.head
    assert isinstance(head, ExpertsHead)
    x, y = train.read_blocks(result.model.blocks), encode_labels(train.origins, dataset.known)
    gate = head.gate
    fusion = FusionMethod(gate.widths, result.best.shrinkage, gate.views_per_vote)
    for (kind, _), expert in zip(result.experts, head.experts, strict=True):
        rows = train.kinds == kind
        alone = fusion.fit(x[rows], y[rows], len(dataset.known), result.model.hyperparameter)
        np.testing.assert_allclose(expert.forward(x).logits, alone.forward(x).logits, atol=1e-4)
    again = result.head_method.fit(x, y, len(dataset.known), result.model.hyperparameter)
    np.testing.assert_allclose(again.forward(x).logits, head.forward(x).logits, atol=1e-4)
    copies = parts.tables[name_perturbed_table("val")]
    assert sorted(set(copies.kinds.tolist())) == ["blur", "crop"]
    assert set(parts.tables["val"].kinds.tolist()) == {""}
    loaded = load_model(save_model(result.model, tmp_path / "model"))
    test = parts.tables["test"].read_blocks(loaded.blocks)
    for ours, theirs in zip(loaded.predict(test), result.model.predict(test), strict=True):
        assert np.array_equal(ours, theirs)


def test_expert_votes_are_selected_on_validation_images_of_their_kind(
    counting: Callable[..., Any], image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    fine = replace(counting(weights="1" * 32).encoder, name="fine", block_groups=(((0,), (1,)),))
    encoder = combine_encoders([counting().encoder, fine])
    dataset = split_folder(image_folder(COUNTS), SplitOptions(**HELD_OUT), near_distance=-1)
    store = FeatureStore(tmp_path / "store", encoder)
    parts = extract_splits(
        dataset, encoder, store, augment=("blur", "jpeg"), augmented_splits=FITTING_SPLITS
    )
    result = fuse(parts, encoder, replace(OPTIONS, values=(100.0,)))
    sets = {m: v for m, v in list_member_sets(encoder).items() if len(v) > 1 and m != "fine"}
    assert len(sets) == 2
    assert result.best.members in sets
    head = result.model.head
    assert isinstance(head, ExpertsHead)

    def of(tables: dict[str, FeatureTable], part: str, origins: tuple[str, ...]) -> FeatureTable:
        return tables[part].take(np.flatnonzero(np.isin(tables[part].origins, origins)))

    def validate(tables: dict[str, FeatureTable], votes: tuple[tuple[int, ...], ...]) -> float:
        head_method = FusionMethod((12, 48) * 2, result.best.shrinkage, tuple(map(len, votes)))
        values = []
        for fold in result.protocol.folds:
            train, val = of(tables, "train", fold.known), of(tables, "val", fold.known)
            unknown = of(tables, fold.unknown_split, fold.unknown)
            y = encode_labels(train.origins, fold.known)
            alone = head_method.fit(train.read_blocks(range(4)), y, len(fold.known), 100.0)
            z, unknown_z = (alone.forward(t.read_blocks(range(4))).logits for t in (val, unknown))
            right = z.argmax(axis=1) == encode_labels(val.origins, fold.known)
            values.append(compute_oscr(z.max(axis=1), right, unknown_z.max(axis=1)))
        return float(np.mean(values))

    for (kind, candidate), expert in zip(result.experts[1:], head.experts[1:], strict=True):
        tables = dict(parts.select_perturbation(kind).tables)
        assert set(tables["val"].kinds.tolist()) == {kind}
        figures = {name: validate(tables, votes) for name, votes in sets.items()}
        assert candidate.oscr == pytest.approx(max(figures.values()), abs=0.01)
        assert candidate.oscr == pytest.approx(figures[candidate.members], abs=0.01)
        assert expert.tensors()["votes"].tolist() == [len(v) for v in sets[candidate.members]]
