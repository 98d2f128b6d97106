"""Every headline figure as if each image were there as often as its weight says.

A resample of the bootstrap is never built: it is how often each image was drawn. Scores are sorted
once; from the highest threshold down, the weight of the images that are over it is a cumulative
sum, and the figures are made of those sums::

    TP(θ) = Σ wᵢ over known images with sᵢ ≥ θ,    FP(θ) = Σ vⱼ over unknown images with sⱼ ≥ θ

Weights of ones give the figures of :mod:`~whichgen.evaluation.closed_set`,
:mod:`~whichgen.evaluation.detection`, :mod:`~whichgen.evaluation.oscr` and
:mod:`~whichgen.evaluation.real_vs_synthetic`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from whichgen.constants import REAL
from whichgen.errors import DataError
from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.real_vs_synthetic import synthetic_scores

#: Figures that exist without unknown images, and those that do not.
CLOSED_METRICS = ("accuracy", "macro_f1", "macro_recall")
OPEN_METRICS = ("auroc", "oscr", "tnr_at_tpr95", "detection_accuracy", "auin", "auout")

#: Those of answers at the model's threshold, and of real against all synthetic images.
THRESHOLD_METRICS = ("acceptance_rate", "rejection_rate", "open_accuracy")
SYNTHETIC_METRICS = ("synthetic_auroc", "synthetic_average_precision")

#: Weights of known images (b, n) and of unknown ones (b, m) → each figure, float64 (b,).
Weighted = Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]


def weighted_metrics(
    known: Predictions,
    unknown: Predictions,
    origins: Sequence[str],
    *,
    threshold: float | None = None,
) -> Weighted:
    """A function from weights, whole numbers as float64 arrays, to figures.

    A figure is NaN in a row without the images that it is of. Without unknown images there are
    no :data:`OPEN_METRICS` and no ``rejection_rate``, without ``threshold`` no
    :data:`THRESHOLD_METRICS`, and where ``real`` is not known no :data:`SYNTHETIC_METRICS`.

    Raises
    ------
    DataError
        No known image, or a true origin that is not in ``origins``.
    """
    if len(known.origins) == 0:
        raise DataError("no known test image: there is no figure to give an interval to.")
    labels = known.labels(origins)
    figures = [_closed(labels, known.predicted, len(origins))]
    correct = known.predicted == labels
    if len(unknown.origins):
        figures.append(_open(known.scores, correct, unknown.scores))
    if threshold is not None:
        figures.append(
            _at_threshold(known.scores >= threshold, correct, unknown.scores < threshold)
        )
    is_real = known.origins == REAL
    if REAL in origins and len(unknown.origins) + (~is_real).sum() and is_real.any():
        scores, strange = (synthetic_scores(a.probabilities, origins) for a in (known, unknown))
        figures.append(_synthetic(scores, strange, is_real))

    def metrics(weights: np.ndarray, unknown_weights: np.ndarray) -> dict[str, np.ndarray]:
        with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0, without images: NaN
            found = [figure(weights, unknown_weights) for figure in figures]
        return {name: values for part in found for name, values in part.items()}

    return metrics


def _closed(labels: np.ndarray, predicted: np.ndarray, n_origins: int) -> Weighted:
    hits = _one_hot(np.where(predicted == labels, labels, -1), n_origins)
    true, told = _one_hot(labels, n_origins), _one_hot(predicted, n_origins)

    def figures(weights: np.ndarray, _: np.ndarray) -> dict[str, np.ndarray]:
        found, there = weights @ hits, weights @ true
        either = there + weights @ told
        # As in closed_set, an origin that no image has and none is taken for does not count. F1 is
        # 2 TP / (true + predicted).
        f1 = np.divide(2 * found, either, out=np.zeros_like(found), where=either > 0)
        recall = np.divide(found, there, out=np.zeros_like(found), where=there > 0)
        return {
            "accuracy": found.sum(axis=1) / weights.sum(axis=1),
            "macro_f1": f1.sum(axis=1) / (either > 0).sum(axis=1),
            "macro_recall": recall.sum(axis=1) / (there > 0).sum(axis=1),
        }

    return figures


def _open(scores: np.ndarray, correct: np.ndarray, unknown_scores: np.ndarray) -> Weighted:
    over, over_unknown = _ranking(scores, unknown_scores)
    right = correct.astype(np.float64)

    def figures(weights: np.ndarray, unknown_weights: np.ndarray) -> dict[str, np.ndarray]:
        kept, classified = over(weights), over(weights * right)
        accepted = over_unknown(unknown_weights)
        n, m = kept[:, -1:], accepted[:, -1:]
        # Whole numbers on either side: no rounding decides.
        at = (20 * kept >= 19 * n).argmax(axis=1)
        rejected = m[:, 0] - np.take_along_axis(accepted, at[:, None], axis=1)[:, 0]
        balanced = (kept / n + 1 - accepted / m).max(axis=1) / 2
        # From the lowest score up, unknown images are the positives.
        strange, lost = ((of[:, -1:] - of)[:, ::-1] for of in (accepted, kept))
        found = {
            "auroc": _area(accepted / m, kept / n),
            "oscr": _area(accepted / m, classified / n),
            "tnr_at_tpr95": rejected / m[:, 0],
            "detection_accuracy": balanced,
            "auin": _area(kept / n, _precision(kept, accepted)),
            "auout": _area(strange / m, _precision(strange, lost)),
        }
        return _where_both(n, m, found)

    return figures


def _at_threshold(accepted: np.ndarray, correct: np.ndarray, rejected: np.ndarray) -> Weighted:
    right = accepted & correct

    def figures(weights: np.ndarray, unknown_weights: np.ndarray) -> dict[str, np.ndarray]:
        n, m = weights.sum(axis=1), unknown_weights.sum(axis=1)
        turned_away = unknown_weights @ rejected
        found = {"acceptance_rate": weights @ accepted / n}
        if len(rejected):
            found["rejection_rate"] = turned_away / m
        return {**found, "open_accuracy": (weights @ right + turned_away) / (n + m)}

    return figures


def _synthetic(scores: np.ndarray, unknown_scores: np.ndarray, is_real: np.ndarray) -> Weighted:
    made = np.concatenate([scores[~is_real], unknown_scores])
    over, over_real = _ranking(made, scores[is_real])

    def figures(weights: np.ndarray, unknown_weights: np.ndarray) -> dict[str, np.ndarray]:
        synthetic = np.concatenate([weights[:, ~is_real], unknown_weights], axis=1)
        found, mistaken = over(synthetic), over_real(weights[:, is_real])
        recall = found / found[:, -1:]
        # Steps, not trapezoids: average precision does not interpolate.
        steps = np.diff(recall, axis=1) * _precision(found, mistaken)[:, 1:]
        both = {
            "synthetic_auroc": _area(mistaken / mistaken[:, -1:], recall),
            "synthetic_average_precision": steps.sum(axis=1),
        }
        return _where_both(found[:, -1:], mistaken[:, -1:], both)

    return figures


#: Weights of scores (b, n) → their sums over each threshold (b, distinct scores + 1).
Sums = Callable[[np.ndarray], np.ndarray]


def _ranking(positive: np.ndarray, negative: np.ndarray) -> tuple[Sums, Sums]:
    """For either side the sums over each threshold: nothing at first, everything at last."""
    thresholds = np.unique(np.concatenate([positive, negative]))[::-1]

    def of(scores: np.ndarray) -> Sums:
        count = len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")
        order, over = np.argsort(-scores, kind="stable"), np.concatenate([[0], count])

        def sums(weights: np.ndarray) -> np.ndarray:
            total = np.zeros((len(weights), weights.shape[1] + 1))
            np.cumsum(weights[:, order], axis=1, out=total[:, 1:])
            return np.asarray(total[:, over])

        return sums

    return of(positive), of(negative)


def _where_both(
    n: np.ndarray, m: np.ndarray, figures: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The figures of rows with images of both sides, n and m (b, 1); NaN in others."""
    both = (n[:, 0] > 0) & (m[:, 0] > 0)
    return {name: np.where(both, values, np.nan) for name, values in figures.items()}


def _area(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The area under each row's curve, by the trapezoid rule: (b, t) → (b,)."""
    return np.asarray((np.diff(x, axis=1) * (y[:, 1:] + y[:, :-1])).sum(axis=1) / 2)


def _precision(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Share of true ones; 1 where nothing is over the threshold yet."""
    found = true + false
    return np.asarray(np.divide(true, found, out=np.ones_like(found), where=found > 0))


def _one_hot(labels: np.ndarray, n: int) -> np.ndarray:
    return np.asarray(labels[:, None] == np.arange(n), dtype=np.float64)
