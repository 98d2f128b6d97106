"""All metrics of one test, against a case worked by hand and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from whichgen.errors import DataError
from whichgen.evaluation.all_metrics import evaluate
from whichgen.evaluation.oscr import oscr
from whichgen.evaluation.predictions import Predictions, label_indices
from whichgen.openset.threshold import decide

ORIGINS = ("real", "gan", "vae")


def answers(rows: list[tuple[str, tuple[float, float, float]]]) -> Predictions:
    """Answers from (true origin, probabilities) pairs."""
    return Predictions.from_probabilities(
        np.array([p for _, p in rows]).reshape(-1, 3), np.array([o for o, _ in rows])
    )


KNOWN = answers(
    [
        ("real", (0.9, 0.05, 0.05)),  # right, accepted at 0.6
        ("real", (0.5, 0.3, 0.2)),  # right, rejected
        ("gan", (0.1, 0.8, 0.1)),  # right, accepted
        ("vae", (0.7, 0.2, 0.1)),  # wrong, accepted
    ]
)
UNKNOWN = answers(
    [
        ("b", (0.6, 0.2, 0.2)),  # on the threshold: accepted
        ("a", (0.2, 0.4, 0.4)),  # rejected
        ("b", (0.1, 0.3, 0.6)),  # accepted
        ("b", (0.52, 0.24, 0.24)),  # rejected
        ("a", (0.05, 0.85, 0.1)),  # accepted
    ]
)


def random_answers(n: int, origins: tuple[str, ...], seed: int) -> Predictions:
    """Seeded answers about n images of the origins named."""
    rng = np.random.default_rng(seed)
    return Predictions.from_probabilities(rng.dirichlet([0.5] * 3, n), rng.choice(origins, n))


def test_a_case_worked_by_hand() -> None:
    found = evaluate(KNOWN, UNKNOWN, ORIGINS, threshold=0.6)
    assert (found.known_images, found.unknown_images) == (4, 5)
    assert found.origins == ORIGINS
    assert found.threshold == 0.6
    assert found.closed.accuracy == 3 / 4
    assert found.closed.recall == (1, 1, 0)
    assert found.acceptance_rate == 3 / 4
    assert found.rejection_rate == 2 / 5
    # Right: two known accepted by their origin, two unknown rejected.
    assert found.open_accuracy == pytest.approx(4 / 9)
    assert found.detection is not None
    # Pairs in which a known image outscores an unknown one: 0.9 all 5, 0.5 one (0.4), 0.8 four,
    # 0.7 four.
    assert found.detection.auroc == pytest.approx((5 + 1 + 4 + 4) / 20)
    # The same without the image that is taken for a wrong origin.
    assert found.oscr == pytest.approx((5 + 1 + 4) / 20)


def test_a_score_on_the_threshold_is_accepted_known_or_unknown() -> None:
    found = evaluate(KNOWN, UNKNOWN, ORIGINS, threshold=0.7)
    assert found.acceptance_rate == 3 / 4
    assert evaluate(KNOWN, UNKNOWN, ORIGINS, threshold=0.85).rejection_rate == 4 / 5


def test_each_unknown_generator_has_its_row_in_order_of_name() -> None:
    a, b = evaluate(KNOWN, UNKNOWN, ORIGINS, threshold=0.6).unknown
    assert (a.name, a.images, b.name, b.images) == ("a", 2, "b", 3)
    assert a.detection.auroc == pytest.approx((2 + 1 + 1 + 1) / 8)
    assert a.oscr == pytest.approx((2 + 1 + 1) / 8)
    assert b.detection.auroc == pytest.approx((3 + 0 + 3 + 3) / 12)
    assert (a.rejection_rate, b.rejection_rate) == (1 / 2, 1 / 3)
    assert a.mean_score == pytest.approx((0.4 + 0.85) / 2)
    assert (a.top_prediction, a.top_prediction_share) == ("gan", 1)
    assert (b.top_prediction, b.top_prediction_share) == ("real", pytest.approx(2 / 3))


def test_figures_are_those_of_scikit_learn_on_random_answers() -> None:
    known = random_answers(300, ORIGINS, 1)
    unknown = random_answers(200, ("x", "y"), 2)
    found = evaluate(known, unknown, ORIGINS, threshold=0.7)
    scores = np.concatenate([known.probabilities.max(axis=1), unknown.probabilities.max(axis=1)])
    assert found.detection is not None
    assert found.detection.auroc == pytest.approx(roc_auc_score([1] * 300 + [0] * 200, scores))
    predicted = np.array(ORIGINS)[known.probabilities.argmax(axis=1)]
    assert found.closed.accuracy == pytest.approx(accuracy_score(known.origins, predicted))
    assert found.acceptance_rate == np.mean(scores[:300] >= 0.7)
    assert found.rejection_rate == np.mean(scores[300:] < 0.7)
    truth = [*known.origins, *["unknown"] * 200]
    said = np.where(scores < 0.7, "unknown", [*predicted, *np.array(ORIGINS)[unknown.predicted]])
    assert found.open_accuracy == pytest.approx(accuracy_score(truth, said))


def test_a_generator_s_row_is_the_evaluation_of_its_images_alone() -> None:
    known = random_answers(50, ORIGINS, 3)
    unknown = random_answers(60, ("x", "y", "z"), 4)
    whole = evaluate(known, unknown, ORIGINS, threshold=0.5)
    for row in whole.unknown:
        mine = unknown.origins == row.name
        alone = evaluate(
            known,
            Predictions.from_probabilities(unknown.probabilities[mine], unknown.origins[mine]),
            ORIGINS,
            threshold=0.5,
        )
        assert row.detection == alone.detection
        assert row.oscr == alone.oscr
        assert row.rejection_rate == alone.rejection_rate


def test_groups_pool_their_members_and_absent_groups_are_left_out() -> None:
    unknown = random_answers(60, ("x", "y", "z"), 4)
    found = evaluate(
        random_answers(50, ORIGINS, 3),
        unknown,
        ORIGINS,
        threshold=0.5,
        groups={"seed": ("x", "z", "absent"), "none": ("absent",), "all": ("x", "y", "z")},
    )
    seed, everything = found.groups
    assert (seed.name, everything.name) == ("seed", "all")
    assert seed.images == np.isin(unknown.origins, ["x", "z"]).sum()
    assert everything.images == 60
    assert everything.detection == found.detection
    assert everything.oscr == found.oscr
    assert everything.rejection_rate == found.rejection_rate


def test_without_unknown_images_only_closed_set_figures_are_there() -> None:
    found = evaluate(KNOWN, answers([]), ORIGINS, threshold=0.6, groups={"g": ("a",)})
    assert found.detection is None
    assert found.oscr is None
    assert math.isnan(found.rejection_rate)
    assert found.unknown == found.groups == ()
    assert found.open_accuracy == 2 / 4


def test_the_order_of_images_does_not_matter() -> None:
    known, unknown = random_answers(40, ORIGINS, 5), random_answers(40, ("x", "y"), 6)
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


def test_of_origins_that_get_equally_many_images_the_first_is_named() -> None:
    for rows in ((0, 1), (1, 0)):
        pair = [("a", (0.1, 0.2, 0.7)), ("a", (0.1, 0.7, 0.2))]
        unknown = answers([pair[i] for i in rows])
        (row,) = evaluate(KNOWN, unknown, ORIGINS, threshold=0.6).unknown
        assert (row.top_prediction, row.top_prediction_share) == ("gan", 0.5)


def test_answers_give_score_prediction_and_label_of_each_image() -> None:
    assert KNOWN.scores.tolist() == [0.9, 0.5, 0.8, 0.7]
    assert KNOWN.predicted.tolist() == [0, 0, 1, 0]
    assert KNOWN.labels(ORIGINS).tolist() == [0, 0, 1, 2]
    assert len(KNOWN) == 4
    assert decide(KNOWN.probabilities, KNOWN.scores, 0.6).tolist() == [0, -1, 1, 0]


def test_the_evaluation_s_oscr_uses_who_is_right() -> None:
    found = evaluate(KNOWN, UNKNOWN, ORIGINS, threshold=0.6)
    right = np.array([True, True, True, False])
    assert found.oscr == oscr(KNOWN.scores, right, UNKNOWN.scores)


def test_an_image_of_an_origin_that_is_not_known_is_an_error_that_names_it() -> None:
    with pytest.raises(DataError, match=r"biggan, glide: not among the known origins real, gan"):
        label_indices(np.array(["real", "glide", "biggan"]), ("real", "gan"))
    assert label_indices(np.array([], dtype=str), ORIGINS).shape == (0,)
