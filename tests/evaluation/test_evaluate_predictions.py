"""All metrics of a test set, compared with hand-computed values and scikit-learn."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from whichgen.data.dataset import Sample
from whichgen.errors import DataError
from whichgen.evaluation.evaluate_predictions import evaluate
from whichgen.evaluation.oscr import compute_oscr
from whichgen.evaluation.predictions import Predictions, encode_labels
from whichgen.evaluation.training_sources import SourceOverlap, TrainingSources
from whichgen.openset.threshold import decide

ORIGINS = ("real", "gan", "vae")


def make_predictions(rows: list[tuple[str, tuple[float, float, float]]]) -> Predictions:
    """Create predictions from pairs (true origin, probabilities)."""
    return Predictions.from_probabilities(
        np.array([p for _, p in rows]).reshape(-1, 3), np.array([o for o, _ in rows])
    )


KNOWN = make_predictions(
    [
        ("real", (0.9, 0.05, 0.05)),  # correct, accepted at 0.6
        ("real", (0.5, 0.3, 0.2)),  # correct, rejected
        ("gan", (0.1, 0.8, 0.1)),  # correct, accepted
        ("vae", (0.7, 0.2, 0.1)),  # wrong, accepted
    ]
)
UNKNOWN = make_predictions(
    [
        ("b", (0.6, 0.2, 0.2)),  # on the threshold: accepted
        ("a", (0.2, 0.4, 0.4)),  # rejected
        ("b", (0.1, 0.3, 0.6)),  # accepted
        ("b", (0.52, 0.24, 0.24)),  # rejected
        ("a", (0.05, 0.85, 0.1)),  # accepted
    ]
)


def random_predictions(n: int, origins: tuple[str, ...], seed: int) -> Predictions:
    """Create random predictions for n images of these origins."""
    rng = np.random.default_rng(seed)
    return Predictions.from_probabilities(rng.dirichlet([0.5] * 3, n), rng.choice(origins, n))


def test_answers_are_rated_with_their_numbers_of_images() -> None:
    answers = ["real", "synthetic", "gan", "gan", *["unknown"] * 4, "vae"]
    result = evaluate(KNOWN, UNKNOWN, ORIGINS, threshold=0.6, answers=answers)
    rates = {name: (rate.value, rate.images) for name, rate in result.answers.items()}
    assert rates["photographs_called_synthetic"] == (1 / 2, 2)
    assert rates["synthetic_found"] == (3 / 7, 7)
    assert rates["named_precision"] == (1 / 3, 3)
    assert rates["named_coverage"] == (2 / 2, 2)
    assert rates["top_tenth_precision"][1] == 1
    assert result.metrics["named_precision"] == 1 / 3
    assert not evaluate(KNOWN, UNKNOWN, ORIGINS, threshold=0.6).answers


def test_test_sources_are_compared_with_the_training_sources() -> None:
    known = replace(KNOWN, sources=np.array([*"abcd"]))
    unknown = replace(UNKNOWN, sources=np.array([*"ddeee"]))
    record = TrainingSources.from_samples([Sample(Path("1.png"), "real", source="b")])
    overlap = [
        evaluate(k, unknown, ORIGINS, threshold=0.6, training_sources=record).source_overlap
        for k in (known, KNOWN)
    ]
    assert overlap == [SourceOverlap(5, 1), None]


def test_metrics_match_values_computed_by_hand() -> None:
    result = evaluate(KNOWN, UNKNOWN, ORIGINS, threshold=0.6)
    assert (result.known_images, result.unknown_images) == (4, 5)
    assert result.origins == ORIGINS
    assert result.threshold == 0.6
    assert result.closed.accuracy == 3 / 4
    assert result.closed.recall == (1, 1, 0)
    assert result.acceptance_rate == 3 / 4
    assert result.rejection_rate == 2 / 5
    # Correct: two known images are accepted with their origin, two unknown images are rejected.
    assert result.open_accuracy == pytest.approx(4 / 9)
    assert result.detection is not None
    # Pairs in which a known image outscores an unknown one: 0.9 all 5, 0.5 one (0.4), 0.8 four,
    # 0.7 four.
    assert result.detection.auroc == pytest.approx((5 + 1 + 4 + 4) / 20)
    # The same pairs without the misclassified image.
    assert result.oscr == pytest.approx((5 + 1 + 4) / 20)


def test_score_equal_to_the_threshold_is_accepted() -> None:
    result = evaluate(KNOWN, UNKNOWN, ORIGINS, threshold=0.7)
    assert result.acceptance_rate == 3 / 4
    assert evaluate(KNOWN, UNKNOWN, ORIGINS, threshold=0.85).rejection_rate == 4 / 5


def test_unknown_generators_are_sorted_by_name() -> None:
    a, b = evaluate(KNOWN, UNKNOWN, ORIGINS, threshold=0.6).unknown
    assert (a.name, a.images, b.name, b.images) == ("a", 2, "b", 3)
    assert a.detection.auroc == pytest.approx((2 + 1 + 1 + 1) / 8)
    assert a.oscr == pytest.approx((2 + 1 + 1) / 8)
    assert b.detection.auroc == pytest.approx((3 + 0 + 3 + 3) / 12)
    assert (a.rejection_rate, b.rejection_rate) == (1 / 2, 1 / 3)
    assert a.mean_score == pytest.approx((0.4 + 0.85) / 2)
    assert (a.top_prediction, a.top_prediction_share) == ("gan", 1)
    assert (b.top_prediction, b.top_prediction_share) == ("real", pytest.approx(2 / 3))


def test_metrics_equal_those_of_scikit_learn() -> None:
    known = random_predictions(300, ORIGINS, 1)
    unknown = random_predictions(200, ("x", "y"), 2)
    result = evaluate(known, unknown, ORIGINS, threshold=0.7)
    scores = np.concatenate([known.probabilities.max(axis=1), unknown.probabilities.max(axis=1)])
    assert result.detection is not None
    assert result.detection.auroc == pytest.approx(roc_auc_score([1] * 300 + [0] * 200, scores))
    predicted = np.array(ORIGINS)[known.probabilities.argmax(axis=1)]
    assert result.closed.accuracy == pytest.approx(accuracy_score(known.origins, predicted))
    assert result.acceptance_rate == np.mean(scores[:300] >= 0.7)
    assert result.rejection_rate == np.mean(scores[300:] < 0.7)
    truth = [*known.origins, *["unknown"] * 200]
    answers = np.where(scores < 0.7, "unknown", [*predicted, *np.array(ORIGINS)[unknown.predicted]])
    assert result.open_accuracy == pytest.approx(accuracy_score(truth, answers))


def test_generator_result_equals_the_evaluation_of_its_images_alone() -> None:
    known = random_predictions(50, ORIGINS, 3)
    unknown = random_predictions(60, ("x", "y", "z"), 4)
    whole = evaluate(known, unknown, ORIGINS, threshold=0.5)
    for row in whole.unknown:
        rows = unknown.origins == row.name
        alone = evaluate(
            known,
            Predictions.from_probabilities(unknown.probabilities[rows], unknown.origins[rows]),
            ORIGINS,
            threshold=0.5,
        )
        assert row.detection == alone.detection
        assert row.oscr == alone.oscr
        assert row.rejection_rate == alone.rejection_rate


def test_groups_pool_their_members_and_absent_groups_are_omitted() -> None:
    unknown = random_predictions(60, ("x", "y", "z"), 4)
    result = evaluate(
        random_predictions(50, ORIGINS, 3),
        unknown,
        ORIGINS,
        threshold=0.5,
        groups={"seed": ("x", "z", "absent"), "none": ("absent",), "all": ("x", "y", "z")},
    )
    seed, everything = result.groups
    assert (seed.name, everything.name) == ("seed", "all")
    assert seed.images == np.isin(unknown.origins, ["x", "z"]).sum()
    assert everything.images == 60
    assert everything.detection == result.detection
    assert everything.oscr == result.oscr
    assert everything.rejection_rate == result.rejection_rate


def test_open_set_metrics_need_unknown_images() -> None:
    result = evaluate(KNOWN, make_predictions([]), ORIGINS, threshold=0.6, groups={"g": ("a",)})
    assert result.detection is None
    assert result.oscr is None
    assert math.isnan(result.rejection_rate)
    assert result.unknown == result.groups == ()
    assert result.open_accuracy == 2 / 4


def test_metrics_do_not_depend_on_the_order_of_images() -> None:
    known, unknown = random_predictions(40, ORIGINS, 5), random_predictions(40, ("x", "y"), 6)
    order = np.random.default_rng(0).permutation(40)
    shuffled = [
        Predictions.from_probabilities(a.probabilities[order], a.origins[order])
        for a in (known, unknown)
    ]
    first = evaluate(known, unknown, ORIGINS, threshold=0.6)
    second = evaluate(*shuffled, ORIGINS, threshold=0.6)
    assert [r.top_prediction for r in first.unknown] == [r.top_prediction for r in second.unknown]
    assert first.open_accuracy == second.open_accuracy
    assert first.oscr == pytest.approx(second.oscr, abs=1e-12)


def test_top_prediction_is_the_first_origin_on_a_tie() -> None:
    for rows in ((0, 1), (1, 0)):
        pair = [("a", (0.1, 0.2, 0.7)), ("a", (0.1, 0.7, 0.2))]
        unknown = make_predictions([pair[i] for i in rows])
        (row,) = evaluate(KNOWN, unknown, ORIGINS, threshold=0.6).unknown
        assert (row.top_prediction, row.top_prediction_share) == ("gan", 0.5)


def test_predictions_have_scores_predicted_origins_and_labels() -> None:
    assert KNOWN.scores.tolist() == [0.9, 0.5, 0.8, 0.7]
    assert KNOWN.predicted.tolist() == [0, 0, 1, 0]
    assert KNOWN.get_labels(ORIGINS).tolist() == [0, 0, 1, 2]
    assert len(KNOWN) == 4
    assert decide(KNOWN.probabilities, KNOWN.scores, 0.6).tolist() == [0, -1, 1, 0]


def test_oscr_counts_correct_predictions() -> None:
    result = evaluate(KNOWN, UNKNOWN, ORIGINS, threshold=0.6)
    correct = np.array([True, True, True, False])
    assert result.oscr == compute_oscr(KNOWN.scores, correct, UNKNOWN.scores)


def test_label_of_an_unknown_origin_is_rejected() -> None:
    with pytest.raises(DataError, match=r"not among the known origins: biggan, glide. Use only"):
        encode_labels(np.array(["real", "glide", "biggan"]), ("real", "gan"))
    assert encode_labels(np.array([], dtype=str), ORIGINS).shape == (0,)
