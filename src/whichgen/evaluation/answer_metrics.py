"""Metrics of answers, such as the precision of named generators, and of the scores behind them.

An *answer* is the most specific origin that a model is certain of: a known origin, a family,
``synthetic``, ``real`` or ``unknown`` (:mod:`whichgen.openset.hierarchy`). Precision against
coverage is the standard evaluation of selective classification (El-Yaniv & Wiener, 2010), where a
model may abstain: coverage is the fraction of images for which it does not abstain, and precision
is the fraction of these images that it classifies correctly. Here, a model abstains if it does not
name a known generator, and coverage is computed only over images of known generators.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whichgen.constants import REAL, UNKNOWN
from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.real_vs_synthetic import separate_real
from whichgen.evaluation.threshold_counts import ThresholdCounts, make_unit_weights

#: The title of each metric of :class:`AnswerMetrics`, in the order of tables.
ANSWER_TITLES = {
    "photographs_called_synthetic": "Photographs called synthetic",
    "synthetic_found": "Synthetic images called synthetic",
    "named_precision": "Named generators that are correct",
    "named_coverage": "Images of known generators that are named",
    "top_tenth_precision": "Correct in the most certain tenth",
    "tpr_at_fpr1": "Synthetic images detected at 1 % FPR",
}


def is_named(answers: np.ndarray, origins: Sequence[str]) -> np.ndarray:
    """Return a mask of the answers that are known generators: bool array (n,).

    ``answers`` is a str array (n,), and ``origins`` contains the known origins.
    """
    return np.isin(answers, [origin for origin in origins if origin != REAL])


def is_synthetic(answers: np.ndarray) -> np.ndarray:
    """Return a mask of the answers that mean that the image is synthetic: bool array (n,).

    ``answers`` is a str array (n,). The mask selects generators, families of generators and
    ``synthetic``.
    """
    return ~np.isin(answers, [REAL, UNKNOWN])


class AnswerMetrics:
    """Metrics of the answers for a test set, as a function of image weights.

    An image is *called synthetic* if its answer is a generator, a family of generators or
    ``synthetic``, and it is *named* if its answer is a known generator. The metrics are:

    ``photographs_called_synthetic``
        Fraction of the real images that are called synthetic.
    ``synthetic_found``
        Fraction of the synthetic images that are called synthetic.
    ``named_precision``
        Fraction of the named images whose answer is correct.
    ``named_coverage``
        Fraction of the images of known generators that are named.
    ``top_tenth_precision``
        Of the images whose most probable origin is a generator, the tenth with the highest open-set
        scores is chosen (rounded down, but at least one image). The metric is the fraction of them
        whose most probable origin is correct.
    ``tpr_at_fpr1``
        True-positive rate at a false-positive rate of at most 1 %: the largest fraction of the
        synthetic images whose log-odds of being synthetic
        (:mod:`whichgen.evaluation.real_vs_synthetic`) reach a threshold that at most 1 % of the
        real images reach.

    A metric is NaN if its denominator is 0; ``tpr_at_fpr1`` is also NaN without real images.

    Parameters
    ----------
    known, unknown
        Predictions for n test images of known origins and m test images of unknown generators;
        ``unknown`` may be empty.
    answers
        The answers for the known and then the unknown images: n + m strings.
    origins
        The known origins, in the order of the probabilities' columns.
    """

    def __init__(
        self,
        known: Predictions,
        unknown: Predictions,
        answers: Sequence[str],
        origins: Sequence[str],
    ) -> None:
        images = Predictions.concatenate([known, unknown])
        true_origins, answer_names = images.origins, np.array(answers, dtype=str)
        predicted = np.array(origins)[images.predicted]
        self._real = true_origins == REAL
        self._known_generator = (np.arange(len(true_origins)) < len(known)) & ~self._real
        self._named = is_named(answer_names, origins)
        self._called_synthetic = is_synthetic(answer_names)
        self._correct = answer_names == true_origins
        rows = np.flatnonzero(predicted != REAL)
        self._by_score = rows[np.argsort(-images.scores[rows], kind="stable")]
        self._predicted_correctly = (predicted == true_origins)[self._by_score]
        self._known_real = known.origins == REAL
        self._synthetic = ThresholdCounts(*separate_real(known, unknown, origins))

    @property
    def images(self) -> dict[str, int]:
        """Denominator of each metric (number of images), by name."""
        n_real, n_predicted = int(self._real.sum()), len(self._by_score)
        n_synthetic = len(self._real) - n_real
        return {
            "photographs_called_synthetic": n_real,
            "synthetic_found": n_synthetic,
            "named_precision": int(self._named.sum()),
            "named_coverage": int(self._known_generator.sum()),
            "top_tenth_precision": min(n_predicted, max(1, n_predicted // 10)),
            "tpr_at_fpr1": n_synthetic,
        }

    @property
    def values(self) -> dict[str, float]:
        """Metrics in [0, 1] by name, with equal weights; NaN if undefined."""
        weights, n = make_unit_weights(self._real), len(self._known_real)
        return {name: float(v[0]) for name, v in self(weights[:, :n], weights[:, n:]).items()}

    def __call__(self, weights: np.ndarray, unknown_weights: np.ndarray) -> dict[str, np.ndarray]:
        """Compute each metric for each row of weights.

        Parameters
        ----------
        weights, unknown_weights
            Number of times each known and each unknown image counts: integers as float64 arrays
            (rows, n) and (rows, m).

        Returns
        -------
        dict
            Maps the name of each metric to a float64 array (rows,), in [0, 1] or NaN.
        """
        w = np.concatenate([weights, unknown_weights], axis=1)

        def compute_fraction(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
            with np.errstate(invalid="ignore"):
                return np.asarray((w @ (numerator & denominator)) / (w @ denominator))

        ordered_weights = w[:, self._by_score]
        cumulative = np.cumsum(ordered_weights, axis=1)
        top_weights = ordered_weights * (cumulative <= np.maximum(0.1 * cumulative[:, -1:], 1))
        hits = self._synthetic.sum_positive(
            np.concatenate([weights[:, ~self._known_real], unknown_weights], axis=1)
        )
        false_alarms = self._synthetic.sum_negative(weights[:, self._known_real])
        n_real = false_alarms[:, -1:]
        with np.errstate(invalid="ignore"):
            tpr = np.where(false_alarms <= 0.01 * n_real, hits, 0).max(axis=1) / hits[:, -1]
            tpr = np.where(n_real[:, 0] > 0, tpr, np.nan)
            top_tenth = (top_weights @ self._predicted_correctly) / top_weights.sum(axis=1)
        return {
            "photographs_called_synthetic": compute_fraction(self._called_synthetic, self._real),
            "synthetic_found": compute_fraction(self._called_synthetic, ~self._real),
            "named_precision": compute_fraction(self._correct, self._named),
            "named_coverage": compute_fraction(self._named, self._known_generator),
            "top_tenth_precision": top_tenth,
            "tpr_at_fpr1": tpr,
        }
