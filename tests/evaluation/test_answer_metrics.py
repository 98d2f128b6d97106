"""Metrics of answers, compared with hand counts."""

from __future__ import annotations

import numpy as np
import pytest

from whichgen.evaluation.answer_metrics import ANSWER_TITLES, AnswerMetrics
from whichgen.evaluation.predictions import Predictions

ORIGINS = ("real", "flux", "sdxl")


def random_case(seed: int, n: int = 60, m: int = 25) -> tuple[Predictions, Predictions, list[str]]:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(3), n + m)
    truth = np.append(rng.choice(ORIGINS, n), np.full(m, "qwen"))
    scores = rng.normal(size=n + m)
    answers = rng.choice([*ORIGINS, "synthetic", "unknown", "diffusion"], n + m).tolist()
    known = Predictions(p[:n], truth[:n], scores[:n])
    return known, Predictions(p[n:], truth[n:], scores[n:]), answers


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_counts_by_hand(seed: int) -> None:
    known, unknown, answers = random_case(seed)
    rows = list(zip([*known.origins, *unknown.origins], answers, strict=True))
    called_synthetic = {"flux", "sdxl", "synthetic", "diffusion"}
    real = [a for t, a in rows if t == "real"]
    synthetic = [a for t, a in rows if t != "real"]
    named = [(t, a) for t, a in rows if a in ("flux", "sdxl")]
    of_known = [a for t, a in rows[: len(known)] if t != "real"]
    values = AnswerMetrics(known, unknown, answers, ORIGINS).values
    assert list(values) == list(ANSWER_TITLES)
    assert values["photographs_called_synthetic"] == sum(a in called_synthetic for a in real) / len(
        real
    )
    assert values["synthetic_found"] == sum(a in called_synthetic for a in synthetic) / len(
        synthetic
    )
    assert values["named_precision"] == sum(t == a for t, a in named) / len(named)
    assert values["named_coverage"] == sum(a in ("flux", "sdxl") for a in of_known) / len(of_known)

    probable = np.array(ORIGINS)[[*known.predicted, *unknown.predicted]]
    scores = [*known.scores, *unknown.scores]
    ranked = sorted(
        (-s, p == t) for s, p, (t, _) in zip(scores, probable, rows, strict=True) if p != "real"
    )
    top = [correct for _, correct in ranked[: len(ranked) // 10]]
    assert values["top_tenth_precision"] == pytest.approx(sum(top) / len(top))

    p_real = np.append(known.probabilities[:, 0], unknown.probabilities[:, 0])
    is_real = np.array([t == "real" for t, _ in rows])
    # With fewer than 100 photographs, a false-positive rate of 1 % allows no false positive.
    found = p_real[~is_real] < p_real[is_real].min()
    assert values["tpr_at_fpr1"] == pytest.approx(found.mean())


def test_weights_count_images_several_times() -> None:
    known, unknown, answers = random_case(3)
    rng = np.random.default_rng(0)
    w, v = rng.integers(0, 4, len(known)), rng.integers(0, 4, len(unknown))
    weighted = AnswerMetrics(known, unknown, answers, ORIGINS)(w[None] * 1.0, v[None] * 1.0)

    def repeat(p: Predictions, counts: np.ndarray) -> Predictions:
        fields = (np.repeat(x, counts, axis=0) for x in (p.probabilities, p.origins, p.scores))
        return Predictions(*fields)

    repeated = np.repeat(answers, np.append(w, v)).tolist()
    expected = AnswerMetrics(repeat(known, w), repeat(unknown, v), repeated, ORIGINS).values
    for name, value in expected.items():
        assert weighted[name][0] == pytest.approx(value), name


def test_a_metric_without_images_is_undefined() -> None:
    p = Predictions(np.array([[0.1, 0.9, 0.0]]), np.array(["flux"]), np.array([1.0]))
    empty = Predictions(np.empty((0, 3)), np.empty(0, str), np.empty(0))
    values = AnswerMetrics(p, empty, ["unknown"], ORIGINS).values
    assert np.isnan(values["photographs_called_synthetic"])
    assert np.isnan(values["named_precision"])
    assert values["named_coverage"] == 0
    assert np.isnan(values["tpr_at_fpr1"])  # without real images, there is no false-positive rate
