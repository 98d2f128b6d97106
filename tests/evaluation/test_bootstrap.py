"""Bootstrap intervals: the weighted figures against the plain ones, the draws, and coverage."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

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
from whichgen.evaluation.all_metrics import evaluate
from whichgen.evaluation.bootstrap import (
    COMPARED_METRICS,
    bootstrap_intervals,
    compare_predictions,
    resample_weights,
)
from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.resampled_metrics import ResampledMetrics

ORIGINS = ("real", "gan", "vae")


CLOSED_METRICS = ("accuracy", "macro_f1", "macro_recall")
OPEN_METRICS = ("auroc", "oscr", "tnr_at_tpr95", "detection_accuracy", "auin", "auout")
THRESHOLD_METRICS = ("acceptance_rate", "rejection_rate", "open_accuracy")
SYNTHETIC_METRICS = ("synthetic_auroc", "synthetic_average_precision")
METRICS = (*CLOSED_METRICS, *OPEN_METRICS, *THRESHOLD_METRICS, *SYNTHETIC_METRICS)
THRESHOLD = 0.6


def reference(known: Predictions, unknown: Predictions) -> dict[str, float]:
    """The metrics by scikit-learn, and those it does not have by :func:`evaluate`."""
    labels, n = known.labels(ORIGINS), len(known)
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


def repeated(answers: Predictions, weights: np.ndarray) -> Predictions:
    """Each image as often as its weight says."""
    rows = np.repeat(np.arange(len(answers.origins)), weights.astype(int))
    return Predictions.from_probabilities(answers.probabilities[rows], answers.origins[rows])


def make(
    n: int, m: int, seed: int, *, skill: float = 1.0, ties: bool = False
) -> tuple[Predictions, Predictions]:
    """Seeded answers about n known and m unknown images, the better the greater ``skill``."""
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


@settings(max_examples=50)  # a case takes a quarter of a second: every metric, thrice
@given(case=weighted_cases())
def test_weighted_figures_are_those_of_the_images_repeated(
    case: tuple[Predictions, Predictions, np.ndarray, np.ndarray],
) -> None:
    known, unknown, w, v = case
    metrics = ResampledMetrics(known, unknown, ORIGINS, threshold=THRESHOLD)
    found = metrics(np.stack([np.ones_like(w), w]), np.stack([np.ones_like(v), v]))
    real = "real" in known.origins
    assert set(found) == set(METRICS) - (set() if real else set(SYNTHETIC_METRICS))
    for row, expected in enumerate(
        (reference(known, unknown), reference(repeated(known, w), repeated(unknown, v)))
    ):
        got = {name: float(values[row]) for name, values in found.items()}
        assert got == pytest.approx({name: expected[name] for name in got}, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("n", [20, 40, 100])
def test_95_percent_of_the_weight_is_not_one_image_more_nor_less(n: int) -> None:
    scores = 0.5 + np.arange(n) / (2 * n)
    answers = Predictions.from_probabilities(
        np.stack([scores, 1 - scores, 0 * scores], axis=1), np.full(n, "real")
    )
    found = ResampledMetrics(answers, answers, ORIGINS)(np.full((1, n), 3.0), np.ones((1, n)))
    assert found["tnr_at_tpr95"] == pytest.approx([0.05])


def test_a_figure_is_not_there_without_the_images_it_is_of() -> None:
    known, unknown = make(4, 3, 0)
    found = ResampledMetrics(known, unknown, ORIGINS)(
        np.array([[0, 0, 0, 0], [1, 1, 1, 1.0]]), np.array([[1, 1, 1], [0, 0, 0.0]])
    )
    assert np.isnan([found[name] for name in OPEN_METRICS]).all()
    assert not set(found) & set(THRESHOLD_METRICS)
    assert np.isnan(found["accuracy"]).tolist() == [True, False]


def _all_weights(*args: object, **keywords: object) -> tuple[np.ndarray, np.ndarray]:
    drawn = list(resample_weights(*args, **keywords))  # type: ignore[arg-type]
    return np.concatenate([w for w, _ in drawn]), np.concatenate([v for _, v in drawn])


def test_without_groups_every_origin_keeps_its_number_of_images() -> None:
    known, unknown = np.array([*"aabbbbc"]), np.array([*"xxxyy"])
    w, v = _all_weights(known, unknown, resamples=4000)
    assert (w.shape, v.shape) == ((4000, 7), (4000, 5))
    for origins, weights in ((known, w), (unknown, v)):
        for origin in set(origins.tolist()):
            of_one = weights[:, origins == origin]
            k = of_one.shape[1]
            assert (of_one.sum(axis=1) == k).all()
            # Each image's count is binomial (k, 1/k), as of draws with replacement.
            for count in range(k + 1):
                assert (of_one == count).mean(axis=0) == pytest.approx(
                    binom.pmf(count, k, 1 / k), abs=0.04
                )


def test_of_different_origins_images_are_drawn_independently() -> None:
    w, v = _all_weights(np.array([*"aabb"]), np.array([*"aab"]), resamples=4000)
    together = np.corrcoef(np.concatenate([w, v], axis=1)[:, [0, 2, 4]].T)
    assert np.abs(together - np.eye(3)).max() < 0.06


def test_a_group_is_drawn_as_a_whole_among_known_and_unknown_images() -> None:
    known = np.array(["real"] * 3 + ["gan"] * 4 + ["vae"] * 3)
    groups = np.array([*["r1", "r1", "r2"], *"ppqs", *"pqq"])
    groups_unknown = np.array(["q", "s", "u", "u"])
    w, v = _all_weights(known, np.array([*"xxyy"]), groups, groups_unknown, resamples=500)
    every, counts = np.concatenate([groups, groups_unknown]), np.concatenate([w, v], axis=1)
    of_group = {}
    for group in set(every.tolist()):
        same = counts[:, every == group]
        assert (same == same[:, :1]).all()
        of_group[group] = same[:, 0]
    # Photographs share no content with generators, nor does y: three strata.
    for stratum in (("r1", "r2"), ("p", "q", "s"), ("u",)):
        assert (sum(of_group[g] for g in stratum) == len(stratum)).all()
    assert len({*of_group["p"].tolist()}) == 4
    assert not np.array_equal(of_group["p"], of_group["q"])


def test_draws_depend_on_the_seed_and_not_on_how_many_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known, unknown = np.array([*"aabbb"]), np.array([*"xxx"])
    whole = _all_weights(known, unknown, resamples=50, seed=3)
    monkeypatch.setattr(module, "_MAX_WEIGHTS", 8 * 7)
    assert len(list(resample_weights(known, unknown, resamples=50, seed=3))) == 8
    parts = _all_weights(known, unknown, resamples=50, seed=3)
    other = _all_weights(known, unknown, resamples=50, seed=4)
    for i in range(2):
        np.testing.assert_array_equal(whole[i], parts[i])
        assert not np.array_equal(whole[i], other[i])


def test_the_value_is_the_figure_and_bounds_are_percentiles_of_resamples() -> None:
    known, unknown = make(60, 40, 1)
    found = bootstrap_intervals(
        known, unknown, ORIGINS, threshold=THRESHOLD, resamples=40, level=0.9, seed=5
    )
    assert set(found) == set(METRICS)
    assert {name: i.value for name, i in found.items()} == pytest.approx(reference(known, unknown))
    w, v = _all_weights(known.origins, unknown.origins, resamples=40, seed=5)
    drawn = [reference(repeated(known, a), repeated(unknown, b)) for a, b in zip(w, v, strict=True)]
    for name, interval in found.items():
        bounds = np.quantile([d[name] for d in drawn], [0.05, 0.95])
        assert (interval.low, interval.high) == pytest.approx(tuple(bounds))


def test_without_unknown_images_closed_figures_alone_are_there() -> None:
    known, _ = make(30, 0, 0)
    nobody = Predictions.from_probabilities(np.empty((0, 3)), np.empty(0, dtype=str))
    found = bootstrap_intervals(known, nobody, ORIGINS, threshold=THRESHOLD, resamples=50)
    at_threshold = {"acceptance_rate", "open_accuracy"}
    assert set(found) == {*CLOSED_METRICS, *at_threshold, *SYNTHETIC_METRICS}
    pair = (known, nobody)
    assert tuple(compare_predictions(pair, pair, ORIGINS, resamples=50)) == ("accuracy", "macro_f1")


def test_an_interval_holds_the_true_figure_as_often_as_it_says() -> None:
    # As many to one another as below: precision depends on that.
    big_known, big_unknown = make(60_000, 40_000, 0)
    truth = reference(big_known, big_unknown)
    inside = dict.fromkeys(METRICS, 0)
    for seed in range(200):
        found = bootstrap_intervals(
            *make(150, 100, 1 + seed), ORIGINS, threshold=THRESHOLD, resamples=200, seed=seed
        )
        for name, interval in found.items():
            inside[name] += interval.low <= truth[name] <= interval.high
    # 190 of 200 expected; the percentile interval is known to fall a little short.
    # Detection accuracy is that of the best threshold on the same images: a maximum, which
    # is optimiztic in every resample.
    least = dict.fromkeys(METRICS, 174) | {"detection_accuracy": 160}
    assert all(least[name] <= hits <= 200 for name, hits in inside.items()), inside


def test_copies_of_images_make_a_figure_surer_unless_groups_say_so() -> None:
    known, unknown = make(80, 60, 2)
    groups = np.arange(140).astype(str)

    def copied(answers: Predictions) -> Predictions:
        return repeated(answers, np.full(len(answers.origins), 5))

    once = bootstrap_intervals(known, unknown, ORIGINS)
    copies = (copied(known), copied(unknown), ORIGINS)
    naive = bootstrap_intervals(*copies)
    grouped = bootstrap_intervals(
        *copies,
        groups_known=np.repeat(groups[:80], 5),
        groups_unknown=np.repeat(groups[80:], 5),
    )
    for name in ("accuracy", "macro_f1", "auroc", "oscr"):
        width = once[name].high - once[name].low
        assert naive[name].high - naive[name].low == pytest.approx(width / np.sqrt(5), rel=0.2)
        assert grouped[name].high - grouped[name].low == pytest.approx(width, rel=0.1)


def test_a_content_shared_by_known_and_unknown_images_is_drawn_once() -> None:
    # A hard content lowers the scores of its known and its unknown images alike, so AUROC, which
    # compares the two, would be taken for less sure by drawing them apart.
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
        bootstrap_intervals(known, unknown, ORIGINS, groups_known=groups, groups_unknown=g)["auroc"]
        for g in (groups, np.char.add("other ", groups))
    )
    assert together.high - together.low < 0.7 * (apart.high - apart.low)


def test_an_origin_gone_from_a_resample_does_not_break_the_interval() -> None:
    known, unknown = make(12, 2, 0)
    found = bootstrap_intervals(
        known,
        unknown,
        ORIGINS,
        groups_known=np.array([*"aaaabbbbcccc"]),
        groups_unknown=np.array([*"aa"]),
        resamples=200,
    )
    assert all(0 <= i.low <= i.high <= 1 for i in found.values())


def test_ten_thousand_images_a_thousand_times() -> None:
    known, unknown = make(6000, 4000, 0)
    tracemalloc.start()
    start = time.process_time()
    bootstrap_intervals(known, unknown, ORIGINS)
    seconds = time.process_time() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 10
    assert peak < 400e6


def test_a_method_against_itself_is_no_difference() -> None:
    pair = make(60, 40, 0)
    for name, found in compare_predictions(pair, pair, ORIGINS, resamples=100).items():
        assert (found.metric, found.difference, found.low, found.high) == (name, 0, 0, 0)
        assert found.p_value == 1
        assert found.mcnemar_p == (1 if name == "accuracy" else None)


def _second_method(
    pair: tuple[Predictions, Predictions], seed: int, noise: float
) -> tuple[Predictions, ...]:
    """Another method's answers about the same images: the first one's, disturbed."""
    rng = np.random.default_rng(seed)
    found = []
    for answers in pair:
        p = answers.probabilities * np.exp(rng.normal(0, noise, answers.probabilities.shape))
        found.append(
            Predictions.from_probabilities(p / p.sum(axis=1, keepdims=True), answers.origins)
        )
    return tuple(found)


def test_differences_are_of_the_same_resamples() -> None:
    pair = make(60, 40, 1)
    second = _second_method(pair, 0, 1.0)
    found = compare_predictions(pair, (second[0], second[1]), ORIGINS, resamples=39, seed=2)
    w, v = _all_weights(pair[0].origins, pair[1].origins, resamples=39, seed=2)
    drawn = []
    for a, b in zip(w, v, strict=True):
        ours, theirs = (
            reference(repeated(known, a), repeated(unknown, b)) for known, unknown in (pair, second)
        )
        drawn.append({name: ours[name] - theirs[name] for name in ours})
    ours, theirs = reference(*pair), reference(*second)
    for name, c in found.items():
        values = np.round([d[name] for d in drawn], 12)
        assert c.difference == pytest.approx(ours[name] - theirs[name])
        assert (c.low, c.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
        fewer = min((values <= 0).sum(), (values >= 0).sum())
        assert c.p_value == pytest.approx(min(1, 2 * (fewer + 1) / 40))


def test_the_better_method_is_found_better_and_the_order_is_a_sign() -> None:
    pair = make(300, 300, 0)
    worse = _second_method(pair, 1, 2.0)
    found = compare_predictions(pair, (worse[0], worse[1]), ORIGINS, resamples=399)
    turned = compare_predictions((worse[0], worse[1]), pair, ORIGINS, resamples=399)
    for name in ("accuracy", "macro_f1", "auroc", "oscr"):
        assert found[name].low > 0
        assert found[name].p_value == pytest.approx(2 / 400)
        assert turned[name].difference == pytest.approx(-found[name].difference)
        assert turned[name].high == pytest.approx(-found[name].low)
        assert turned[name].p_value == found[name].p_value
    assert found["accuracy"].mcnemar_p is not None
    assert found["accuracy"].mcnemar_p < 1e-3


def test_methods_that_are_equal_on_average_are_rarely_found_different() -> None:
    wrong = dict.fromkeys(COMPARED_METRICS, 0)
    for seed in range(120):
        pair = make(100, 80, seed)
        first, second = (_second_method(pair, 2 * seed + i, 0.7) for i in range(2))
        found = compare_predictions(
            (first[0], first[1]), (second[0], second[1]), ORIGINS, resamples=199, seed=seed
        )
        for name, c in found.items():
            wrong[name] += c.p_value <= 0.05
    # Six of 120 expected; 14 is over three standard deviations more.
    assert all(count <= 14 for count in wrong.values()), wrong


def test_mcnemar_by_hand() -> None:
    # The first alone is right four times, the second alone once: 2 · (1 + 5) / 2⁵.
    labels = np.zeros(9, dtype=int)
    truth = np.array(ORIGINS)[labels]

    def predicting(rows: list[int]) -> tuple[Predictions, Predictions]:
        return Predictions.from_probabilities(
            np.eye(3)[rows], truth
        ), Predictions.from_probabilities(np.eye(3)[:2], np.array(["x", "x"]))

    first, second = [0, 0, 0, 0, 1, 0, 0, 0, 2], [1, 1, 2, 2, 0, 0, 0, 0, 1]
    found = compare_predictions(predicting(first), predicting(second), ORIGINS, resamples=20)
    assert found["accuracy"].mcnemar_p == pytest.approx(2 * 6 / 32)
    assert found["accuracy"].difference == pytest.approx(3 / 9)


@pytest.mark.parametrize("which", [0, 1])
def test_answers_about_other_images_are_refused(which: int) -> None:
    pair = list(make(30, 20, 0))
    turned = pair.copy()
    turned[which] = Predictions.from_probabilities(
        pair[which].probabilities[:-1], pair[which].origins[:-1]
    )
    with pytest.raises(DataError, match=f"same {('known', 'unknown')[which]} images"):
        compare_predictions((pair[0], pair[1]), (turned[0], turned[1]), ORIGINS, resamples=10)
    turned[which] = Predictions.from_probabilities(
        pair[which].probabilities, np.roll(pair[which].origins, 1)
    )
    with pytest.raises(DataError, match="same images in the same order"):
        compare_predictions((pair[0], pair[1]), (turned[0], turned[1]), ORIGINS, resamples=10)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"resamples": 0}, "at least one resample"),
        ({"level": 1.0}, "over 0 and under 1"),
        ({"level": float("nan")}, "over 0 and under 1"),
        ({"groups_known": np.array(["a"])}, "1 groups for 10 known images"),
        ({"groups_unknown": np.array(["a"])}, "1 groups for 5 unknown images"),
    ],
)
@pytest.mark.parametrize(
    "function",
    [
        bootstrap_intervals,
        lambda k, u, o, **keywords: compare_predictions((k, u), (k, u), o, **keywords),
    ],
)
def test_what_can_t_be_done_is_told(
    keywords: dict[str, object], message: str, function: Callable[..., object]
) -> None:
    with pytest.raises(DataError, match=message):
        function(*make(10, 5, 0), ORIGINS, **keywords)


def test_no_known_image_and_a_stray_origin_are_told() -> None:
    known, unknown = make(10, 5, 0)
    with pytest.raises(DataError, match="no known test image"):
        bootstrap_intervals(
            Predictions.from_probabilities(np.empty((0, 3)), np.empty(0, dtype=str)),
            unknown,
            ORIGINS,
        )
    with pytest.raises(DataError, match="not among the known origins"):
        bootstrap_intervals(unknown, known, ORIGINS)
