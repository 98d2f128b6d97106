"""Label-shuffle control: train on permuted labels to detect leakage.

A head with the model's method, blocks and hyperparameter is fitted on training images with permuted
labels, and evaluated on the same test images as the model (Ojala & Garriga, 2010). The expected
balanced accuracy for K known origins is 1 / K; a higher value indicates that true labels leaked
into training or evaluation. The control does not detect images that are in both the training and
the test set, because their labels are permuted, too. ``whichgen dataset check`` detects them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import ttest_1samp

from whichgen.evaluation.closed_set import compute_closed_set_metrics
from whichgen.evaluation.predictions import encode_labels
from whichgen.evaluation.unknown_detection import compute_auroc
from whichgen.heads.head import HeadMethod
from whichgen.openset.predict import fit_and_predict
from whichgen.progress import Progress, no_progress
from whichgen.training.finalize_model import EvaluatedModel
from whichgen.training.parallel_sweeps import choose_jobs, run_in_processes

#: The control warns if the p-value is below this significance level.
LEVEL = 0.001

#: Maximum difference between balanced accuracies that are equal up to rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class ShuffleRun:
    """Test metrics of a head fitted on permuted labels.

    Parameters
    ----------
    seed
        Seed of the permutation.
    accuracy, balanced_accuracy
        Fraction of known test images classified correctly, and mean recall over origins; in [0, 1].
    auroc
        AUROC of known against unknown test images, in [0, 1]; ``None`` without unknown images. It
        can differ from 0.5, because unknown images can be separable from known images even with
        random labels.
    """

    seed: int
    accuracy: float
    balanced_accuracy: float
    auroc: float | None


@dataclass(frozen=True)
class ShuffleControl:
    """Result of :func:`run_label_shuffle`.

    Parameters
    ----------
    shuffles
        Test metrics for each permutation.
    chance
        1 / K, the expected balanced accuracy of random guessing among K known origins.
    mean
        Mean balanced accuracy over the permutations, in [0, 1].
    p_value
        p-value of the one-sided Student's t-test, whose alternative is that the expected balanced
        accuracy exceeds ``chance``; ``None`` for a single permutation. If all balanced accuracies
        are equal, up to rounding, the p-value is 0 if they exceed ``chance`` and 1 otherwise.
    """

    shuffles: tuple[ShuffleRun, ...]
    chance: float
    mean: float
    p_value: float | None

    @property
    def suspicious(self) -> bool:
        """Whether ``p_value`` is below :data:`LEVEL`; false for a single permutation."""
        return self.p_value is not None and self.p_value < LEVEL


def run_label_shuffle(
    model_results: EvaluatedModel,
    head_method: HeadMethod,
    *,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    jobs: int = -1,
    progress: Progress = no_progress,
) -> ShuffleControl:
    """Fit a head on permuted labels for each seed, and evaluate it on the test images.

    Parameters
    ----------
    model_results
        The model, with its features and test results.
    head_method
        The method that fitted the model's head.
    seeds
        Seeds of the permutations, at least one.
    jobs
        Number of processes; -1 for one per core.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Returns
    -------
    ShuffleControl
        The metrics for each permutation, and a test of whether they exceed chance.

    Raises
    ------
    FitError
        The head or the open-set score can't be fitted to permuted labels
        (:func:`~whichgen.openset.predict.fit_and_predict`), for example because the solver does not
        converge (:class:`~whichgen.errors.ConvergenceError`).
    StoreError
        The features can't be read.
    """
    model, features = model_results.model, model_results.features
    train = features.tables["train"]
    x = train.read_blocks(model.blocks)
    labels = encode_labels(train.origins, model.origins)
    test = [
        t.read_blocks(model.blocks) for t in features.select_test_tables(model_results.protocol)
    ]
    settings = (model.hyperparameter, model.score_method)
    calls = (
        (head_method, x, np.random.default_rng(seed).permutation(labels), settings, test)
        for seed in seeds
    )
    jobs = choose_jobs(head_method, len(seeds) * len(x) * sum(map(len, test)), jobs)
    results = progress(
        run_in_processes(fit_and_predict, calls, jobs=jobs),
        description="Shuffling labels",
        total=len(seeds),
    )
    true_labels = model_results.known.get_labels(model.origins)
    shuffles = []
    for seed, ((probabilities, scores), (_, unknown_scores)) in zip(seeds, results, strict=True):
        metrics = compute_closed_set_metrics(probabilities, true_labels)
        area = compute_auroc(scores, unknown_scores) if len(unknown_scores) else None
        shuffles.append(ShuffleRun(seed, metrics.accuracy, metrics.macro_recall, area))
    return summarize_shuffles(shuffles, 1 / len(model.origins))


def summarize_shuffles(shuffles: Sequence[ShuffleRun], chance: float) -> ShuffleControl:
    """Average the balanced accuracies, and test whether their expected value exceeds ``chance``.

    Parameters
    ----------
    shuffles
        Test metrics for each permutation, at least one.
    chance
        1 / K for K known origins.
    """
    accuracies = np.array([shuffle.balanced_accuracy for shuffle in shuffles])
    if len(accuracies) < 2:
        p_value = None
    elif np.ptp(accuracies) < _ROUNDING:  # the t-test requires a positive variance
        p_value = float(accuracies.mean() <= chance + _ROUNDING)
    else:
        p_value = float(ttest_1samp(accuracies, chance, alternative="greater").pvalue)
    return ShuffleControl(tuple(shuffles), chance, float(accuracies.mean()), p_value)
