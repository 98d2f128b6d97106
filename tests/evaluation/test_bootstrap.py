"""Bootstrap intervals: weighted metrics, resampling, and coverage."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import (
    accuracy_score,
    auc,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    precision_recall_curve,
    roc_auc_score,
)

from whichgen.errors import DataError
from whichgen.evaluation import bootstrap as module
from whichgen.evaluation.answer_metrics import AnswerMetrics
from whichgen.evaluation.bootstrap import bootstrap_intervals, resample_weights
from whichgen.evaluation.evaluate_predictions import evaluate
from whichgen.evaluation.headline_metrics import KEY_METRICS, HeadlineMetrics
from whichgen.evaluation.paired_comparison import compare_predictions
from whichgen.evaluation.predictions import Predictions

ORIGINS = ("real", "gan", "vae")


CLOSED_METRICS = ("accuracy", "macro_f1", "macro_recall")
OPEN_METRICS = ("auroc", "oscr", "tnr_at_tpr95", "detection_accuracy", "auin", "auout")
THRESHOLD_METRICS = ("acceptance_rate", "rejection_rate", "open_accuracy")
SYNTHETIC_METRICS = ("synthetic_auroc", "synthetic_average_precision")
METRICS = (*CLOSED_METRICS, *OPEN_METRICS, *THRESHOLD_METRICS, *SYNTHETIC_METRICS)
THRESHOLD = 0.6


def reference(known: Predictions, unknown: Predictions) -> dict[str, float]:
    """Compute metrics with scikit-learn, or with :func:`evaluate` if scikit-learn lacks them."""
    labels, n = known.get_labels(ORIGINS), len(known)
    truth = np.repeat([1, 0], [n, len(unknown)])
    scores = np.concatenate([known.scores, unknown.scores])
    result = evaluate(known, unknown, ORIGINS, threshold=THRESHOLD)
    assert result.detection is not None and result.oscr is not None
    with np.errstate(divide="ignore"):
        real = np.concatenate([known.probabilities, unknown.probabilities])[:, 0]
        odds = np.log1p(-real) - np.log(real)
    is_synthetic = np.concatenate([known.origins, unknown.origins]) != "real"

    def precision_recall(truth: np.ndarray, scores: np.ndarray) -> float:
        precision, recall, _ = precision_recall_curve(truth, scores)
        return float(auc(recall, precision))

    has_real = not is_synthetic.all()
    return {
        "accuracy": accuracy_score(labels, known.predicted),
        "macro_f1": f1_score(labels, known.predicted, average="macro", zero_division=0.0),
        "macro_recall": balanced_accuracy_score(labels, known.predicted),
        "auroc": roc_auc_score(truth, scores),
        "auin": precision_recall(truth, scores),
        "auout": precision_recall(1 - truth, -scores),
        "oscr": result.oscr,
        "tnr_at_tpr95": result.detection.tnr_at_tpr95,
        "detection_accuracy": result.detection.detection_accuracy,
        "acceptance_rate": result.acceptance_rate,
        "rejection_rate": result.rejection_rate,
        "open_accuracy": result.open_accuracy,
        "synthetic_auroc": roc_auc_score(is_synthetic, odds) if has_real else np.nan,
        "synthetic_average_precision": average_precision_score(is_synthetic, odds)
        if has_real
        else np.nan,
    }


def repeat(predictions: Predictions, weights: np.ndarray) -> Predictions:
    """Repeat each image according to its weight."""
    rows = np.repeat(np.arange(len(predictions)), weights.astype(int))
    return Predictions.from_probabilities(
        predictions.probabilities[rows], predictions.origins[rows]
    )


def make(
    n: int, m: int, seed: int, *, skill: float = 1.0, ties: bool = False
) -> tuple[Predictions, Predictions]:
    """Create predictions for n known and m unknown images, more accurate with higher ``skill``."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    logits = rng.normal(size=(n + m, 3))
    logits[np.arange(n), labels] += 2 * skill
    if ties:
        logits = np.round(logits)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if ties:
        probabilities = np.round(probabilities, 6)
    return (
        Predictions.from_probabilities(probabilities[:n], np.array(ORIGINS)[labels]),
        Predictions.from_probabilities(probabilities[n:], rng.choice(["x", "y"], m)),
    )


@st.composite
def weighted_cases(draw: st.DrawFn) -> tuple[Predictions, Predictions, np.ndarray, np.ndarray]:
    n, m = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    known, unknown = make(n, m, draw(st.integers(0, 2**32 - 1)), ties=draw(st.booleans()))

    def weights(size: int) -> np.ndarray:
        rows = draw(st.lists(st.integers(0, 4), min_size=size, max_size=size).filter(any))
        return np.array(rows, dtype=np.float64)

    return known, unknown, weights(n), weights(m)


@settings(max_examples=50)  # each case takes a quarter of a second
@given(case=weighted_cases())
def test_weighted_metrics_equal_the_metrics_of_repeated_images(
    case: tuple[Predictions, Predictions, np.ndarray, np.ndarray],
) -> None:
    known, unknown, w, v = case
    metrics = HeadlineMetrics(known, unknown, ORIGINS, threshold=THRESHOLD)
    weighted = metrics(np.stack([np.ones_like(w), w]), np.stack([np.ones_like(v), v]))
    assert set(weighted) == set(METRICS)
    real = "real" in known.origins
    assert set(metrics.values) == set(METRICS) - (set() if real else set(SYNTHETIC_METRICS))
    for row, expected in enumerate(
        (reference(known, unknown), reference(repeat(known, w), repeat(unknown, v)))
    ):
        values = {name: float(rows[row]) for name, rows in weighted.items()}
        assert values == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("n", [20, 40, 100])
def test_tnr_at_tpr95_of_weighted_images_is_exact(n: int) -> None:
    scores = 0.5 + np.arange(n) / (2 * n)
    predictions = Predictions.from_probabilities(
        np.stack([scores, 1 - scores, 0 * scores], axis=1), np.full(n, "real")
    )
    metrics = HeadlineMetrics(predictions, predictions, ORIGINS)
    assert metrics(np.full((1, n), 3.0), np.ones((1, n)))["tnr_at_tpr95"] == pytest.approx([0.05])


def test_metrics_are_nan_without_the_images_they_need() -> None:
    known, unknown = make(4, 3, 0)
    metrics = HeadlineMetrics(known, unknown, ORIGINS)(
        np.array([[0, 0, 0, 0], [1, 1, 1, 1.0]]), np.array([[1, 1, 1], [0, 0, 0.0]])
    )
    assert np.isnan([metrics[name] for name in OPEN_METRICS]).all()
    assert not set(metrics) & set(THRESHOLD_METRICS)
    assert np.isnan(metrics["accuracy"]).tolist() == [True, False]


def origins_only(origins: np.ndarray, groups: np.ndarray | None = None) -> Predictions:
    """Create predictions with meaningful origins and groups only."""
    scores = np.ones(len(origins))
    return Predictions(scores[:, None], origins, scores, groups)


def all_weights(
    known: Predictions, unknown: Predictions, resamples: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    weights, unknown_weights = zip(*resample_weights(known, unknown, resamples, seed), strict=True)
    return np.concatenate(weights), np.concatenate(unknown_weights)


def test_every_origin_keeps_its_number_of_images_without_groups() -> None:
    known, unknown = np.array([*"aabbbbc"]), np.array([*"xxxyy"])
    w, v = all_weights(origins_only(known), origins_only(unknown), resamples=4000)
    assert (w.shape, v.shape) == ((4000, 7), (4000, 5))
    for origins, weights in ((known, w), (unknown, v)):
        for origin in set(origins.tolist()):
            counts = weights[:, origins == origin]
            k = counts.shape[1]
            assert (counts.sum(axis=1) == k).all()
            # Each image's count is binomial (k, 1/k), as for draws with replacement.
            for count in range(k + 1):
                assert (counts == count).mean(axis=0) == pytest.approx(
                    binom.pmf(count, k, 1 / k), abs=0.04
                )


def test_images_of_different_origins_are_drawn_independently() -> None:
    known, unknown = origins_only(np.array([*"aabb"])), origins_only(np.array([*"aab"]))
    w, v = all_weights(known, unknown, resamples=4000)
    correlations = np.corrcoef(np.concatenate([w, v], axis=1)[:, [0, 2, 4]].T)
    assert np.abs(correlations - np.eye(3)).max() < 0.06


def test_groups_of_known_and_unknown_images_are_drawn_as_a_whole() -> None:
    known = np.array(["real"] * 3 + ["gan"] * 4 + ["vae"] * 3)
    groups = np.array([*["r1", "r1", "r2"], *"ppqs", *"pqq"])
    groups_unknown = np.array(["q", "s", "u", "u"])
    unknown = origins_only(np.array([*"xxyy"]), groups_unknown)
    w, v = all_weights(origins_only(known, groups), unknown, resamples=500)
    all_groups, counts = np.concatenate([groups, groups_unknown]), np.concatenate([w, v], axis=1)
    by_group = {}
    for group in set(all_groups.tolist()):
        same = counts[:, all_groups == group]
        assert (same == same[:, :1]).all()
        by_group[group] = same[:, 0]
    # Neither the photographs nor y share content with other origins: three strata.
    for stratum in (("r1", "r2"), ("p", "q", "s"), ("u",)):
        assert (sum(by_group[g] for g in stratum) == len(stratum)).all()
    assert len({*by_group["p"].tolist()}) == 4
    assert not np.array_equal(by_group["p"], by_group["q"])


def test_images_are_drawn_by_source_rather_than_by_group() -> None:
    known, unknown = origins_only(np.array(["real"] * 4)), origins_only(np.array(["flow"] * 2))
    known = replace(known, groups=np.array([*"ppqq"]), sources=np.array([*"aaba"]))
    unknown = replace(unknown, groups=np.array([*"pq"]), sources=np.array([*"cd"]))
    w, v = all_weights(known, unknown, resamples=200)
    assert (w[:, [0, 1]] == w[:, [3, 3]]).all()
    assert (w[:, 0] + w[:, 2] == 2).all()
    assert (v.sum(axis=1) == 2).all()
    assert (v[:, 0] != w[:, 0]).any()


def test_answer_metrics_get_intervals_if_there_are_answers() -> None:
    known, unknown = make(6, 4, 0)
    answers = ["gan"] * 5 + ["unknown"] * 5
    with_answers = bootstrap_intervals(known, unknown, ORIGINS, answers=answers, resamples=50)
    without = bootstrap_intervals(known, unknown, ORIGINS, resamples=50)
    assert {name: with_answers[name] for name in without} == without
    values = AnswerMetrics(known, unknown, answers, ORIGINS).values
    added = with_answers.keys() - without.keys()
    assert added == {name for name, value in values.items() if not np.isnan(value)}
    assert all(with_answers[name].value == values[name] for name in added)


def test_draws_depend_on_the_seed_and_not_on_the_chunk_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known, unknown = origins_only(np.array([*"aabbb"])), origins_only(np.array([*"xxx"]))
    whole = all_weights(known, unknown, resamples=50, seed=3)
    monkeypatch.setattr(module, "_MAX_WEIGHTS", 8 * 7)
    assert len(list(resample_weights(known, unknown, resamples=50, seed=3))) == 8
    parts = all_weights(known, unknown, resamples=50, seed=3)
    other = all_weights(known, unknown, resamples=50, seed=4)
    for i in range(2):
        np.testing.assert_array_equal(whole[i], parts[i])
        assert not np.array_equal(whole[i], other[i])


def test_interval_bounds_are_percentiles_of_resamples() -> None:
    known, unknown = make(60, 40, 1)
    intervals = bootstrap_intervals(
        known, unknown, ORIGINS, threshold=THRESHOLD, resamples=40, seed=5
    )
    assert set(intervals) == set(METRICS)
    values = {name: interval.value for name, interval in intervals.items()}
    assert values == pytest.approx(reference(known, unknown))
    w, v = all_weights(known, unknown, resamples=40, seed=5)
    draws = [reference(repeat(known, a), repeat(unknown, b)) for a, b in zip(w, v, strict=True)]
    for name, interval in intervals.items():
        bounds = np.quantile([draw[name] for draw in draws], [0.025, 0.975])
        assert (interval.low, interval.high) == pytest.approx(tuple(bounds))


def test_closed_set_metrics_need_no_unknown_images() -> None:
    known, _ = make(30, 0, 0)
    none = Predictions.from_probabilities(np.empty((0, 3)), np.empty(0, dtype=str))
    intervals = bootstrap_intervals(known, none, ORIGINS, threshold=THRESHOLD, resamples=50)
    at_threshold = {"acceptance_rate", "open_accuracy"}
    assert set(intervals) == {*CLOSED_METRICS, *at_threshold, *SYNTHETIC_METRICS}
    pair = (known, none)
    assert tuple(compare_predictions(pair, pair, ORIGINS, resamples=50)) == ("accuracy", "macro_f1")


def test_intervals_cover_the_true_value_at_their_level() -> None:
    # Use the same proportion as below, because precision depends on it.
    big_known, big_unknown = make(60_000, 40_000, 0)
    truth = reference(big_known, big_unknown)
    inside = dict.fromkeys(METRICS, 0)
    for seed in range(200):
        intervals = bootstrap_intervals(
            *make(150, 100, 1 + seed), ORIGINS, threshold=THRESHOLD, resamples=200, seed=seed
        )
        for name, interval in intervals.items():
            inside[name] += interval.low <= truth[name] <= interval.high
    # 190 of 200 are expected; percentile intervals cover slightly less.
    # Detection accuracy is a maximum over thresholds on the same images, which
    # is optimistic in every resample.
    least = dict.fromkeys(METRICS, 174) | {"detection_accuracy": 160}
    assert all(least[name] <= hits <= 200 for name, hits in inside.items()), inside


def test_copies_of_images_narrow_the_interval_only_without_groups() -> None:
    known, unknown = make(80, 60, 2)
    groups = np.repeat(np.arange(140).astype(str), 5)
    once = bootstrap_intervals(known, unknown, ORIGINS)
    copies = [repeat(part, np.full(len(part), 5)) for part in (known, unknown)]
    naive = bootstrap_intervals(copies[0], copies[1], ORIGINS)
    grouped = bootstrap_intervals(
        replace(copies[0], groups=groups[:400]), replace(copies[1], groups=groups[400:]), ORIGINS
    )
    for name in ("accuracy", "macro_f1", "auroc", "oscr"):
        width = once[name].high - once[name].low
        assert naive[name].high - naive[name].low == pytest.approx(width / np.sqrt(5), rel=0.2)
        assert grouped[name].high - grouped[name].low == pytest.approx(width, rel=0.1)


def test_content_shared_by_known_and_unknown_images_is_drawn_once() -> None:
    # Difficult content lowers the scores of known and of unknown images, so drawing them
    # independently would widen the interval of AUROC, which compares the two.
    rng = np.random.default_rng(0)
    shift = np.repeat(rng.normal(0, 1, 40), 3)
    known_scores = 0.7 + 0.05 * (shift + rng.normal(0, 0.3, 120))
    unknown_scores = 0.65 + 0.05 * (shift + rng.normal(0, 0.3, 120))
    known, unknown = (
        Predictions.from_probabilities(np.stack([s, 1 - s, 0 * s], axis=1), np.full(120, origin))
        for s, origin in ((known_scores, "real"), (unknown_scores, "x"))
    )
    groups = np.repeat(np.arange(40), 3).astype(str)
    together, apart = (
        bootstrap_intervals(replace(known, groups=groups), replace(unknown, groups=names), ORIGINS)[
            "auroc"
        ]
        for names in (groups, np.char.add("other ", groups))
    )
    assert together.high - together.low < 0.7 * (apart.high - apart.low)


def test_resamples_may_lack_an_origin() -> None:
    known, unknown = make(12, 2, 0)
    intervals = bootstrap_intervals(
        replace(known, groups=np.array([*"aaaabbbbcccc"])),
        replace(unknown, groups=np.array([*"aa"])),
        ORIGINS,
        resamples=200,
    )
    assert all(0 <= i.low <= i.high <= 1 for i in intervals.values())


def test_a_thousand_resamples_of_ten_thousand_images_are_fast() -> None:
    known, unknown = make(6000, 4000, 0)
    tracemalloc.start()
    start = time.process_time()
    bootstrap_intervals(known, unknown, ORIGINS)
    seconds = time.process_time() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 10
    assert peak < 400e6


def test_method_does_not_differ_from_itself() -> None:
    pair = make(60, 40, 0)
    for name, result in compare_predictions(pair, pair, ORIGINS, resamples=100).items():
        assert (result.metric, result.difference, result.low, result.high) == (name, 0, 0, 0)
        assert result.p_value == 1
        assert result.mcnemar_p == (1 if name == "accuracy" else None)


def add_noise(
    pair: tuple[Predictions, Predictions], seed: int, noise: float
) -> tuple[Predictions, Predictions]:
    """Add noise to create the predictions of another method for the same images."""
    rng = np.random.default_rng(seed)

    def disturb(predictions: Predictions) -> Predictions:
        p = predictions.probabilities
        p = p * np.exp(rng.normal(0, noise, p.shape))
        return Predictions.from_probabilities(p / p.sum(axis=1, keepdims=True), predictions.origins)

    return disturb(pair[0]), disturb(pair[1])


def test_differences_are_computed_on_the_same_resamples() -> None:
    pair = make(60, 40, 1)
    second = add_noise(pair, 0, 1.0)
    comparisons = compare_predictions(pair, second, ORIGINS, resamples=39, seed=2)
    w, v = all_weights(*pair, resamples=39, seed=2)
    draws = []
    for a, b in zip(w, v, strict=True):
        ours, theirs = (
            reference(repeat(known, a), repeat(unknown, b)) for known, unknown in (pair, second)
        )
        draws.append({name: ours[name] - theirs[name] for name in ours})
    ours, theirs = reference(*pair), reference(*second)
    for name, c in comparisons.items():
        values = np.round([draw[name] for draw in draws], 12)
        assert c.difference == pytest.approx(ours[name] - theirs[name])
        assert (c.low, c.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
        fewer = min((values <= 0).sum(), (values >= 0).sum())
        assert c.p_value == pytest.approx(min(1, 2 * (fewer + 1) / 40))


def test_better_method_is_significant_and_the_order_sets_the_sign() -> None:
    pair = make(300, 300, 0)
    worse = add_noise(pair, 1, 2.0)
    better = compare_predictions(pair, worse, ORIGINS, resamples=399)
    reverse = compare_predictions(worse, pair, ORIGINS, resamples=399)
    for name in ("accuracy", "macro_f1", "auroc", "oscr"):
        assert better[name].low > 0
        assert better[name].p_value == pytest.approx(2 / 400)
        assert reverse[name].difference == pytest.approx(-better[name].difference)
        assert reverse[name].high == pytest.approx(-better[name].low)
        assert reverse[name].p_value == better[name].p_value
    assert better["accuracy"].mcnemar_p is not None
    assert better["accuracy"].mcnemar_p < 1e-3


def test_methods_equal_on_average_rarely_differ_significantly() -> None:
    wrong = dict.fromkeys(KEY_METRICS, 0)
    for seed in range(120):
        pair = make(100, 80, seed)
        first, second = (add_noise(pair, 2 * seed + i, 0.7) for i in range(2))
        comparisons = compare_predictions(first, second, ORIGINS, resamples=199, seed=seed)
        for name, c in comparisons.items():
            wrong[name] += c.p_value <= 0.05
    # Six of 120 are expected; 14 is more than three standard deviations above.
    assert all(count <= 14 for count in wrong.values()), wrong


def test_mcnemar_by_hand() -> None:
    # Only the first method is correct four times, only the second once: 2 · (1 + 5) / 2⁵.
    labels = np.zeros(9, dtype=int)
    truth = np.array(ORIGINS)[labels]

    def predict(rows: list[int]) -> tuple[Predictions, Predictions]:
        return Predictions.from_probabilities(
            np.eye(3)[rows], truth
        ), Predictions.from_probabilities(np.eye(3)[:2], np.array(["x", "x"]))

    first, second = [0, 0, 0, 0, 1, 0, 0, 0, 2], [1, 1, 2, 2, 0, 0, 0, 0, 1]
    comparisons = compare_predictions(predict(first), predict(second), ORIGINS, resamples=20)
    assert comparisons["accuracy"].mcnemar_p == pytest.approx(2 * 6 / 32)
    assert comparisons["accuracy"].difference == pytest.approx(3 / 9)


@pytest.mark.parametrize("which", [0, 1])
def test_predictions_of_different_images_are_rejected(which: int) -> None:
    pair = list(make(30, 20, 0))
    probabilities, origins = pair[which].probabilities, pair[which].origins
    for other in (
        Predictions.from_probabilities(probabilities[:-1], origins[:-1]),
        Predictions.from_probabilities(probabilities, np.roll(origins, 1)),
    ):
        second = pair.copy()
        second[which] = other
        with pytest.raises(DataError, match=f"same {('known', 'unknown')[which]} images"):
            compare_predictions((pair[0], pair[1]), (second[0], second[1]), ORIGINS, resamples=10)


def test_missing_known_images_and_unknown_origins_are_rejected() -> None:
    known, unknown = make(10, 5, 0)
    none = Predictions.from_probabilities(np.empty((0, 3)), np.empty(0, dtype=str))
    with pytest.raises(DataError, match="test set has no images of known origins"):
        bootstrap_intervals(none, unknown, ORIGINS)
    with pytest.raises(DataError, match="not among the known origins"):
        bootstrap_intervals(unknown, known, ORIGINS)
