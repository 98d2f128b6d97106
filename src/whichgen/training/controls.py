"""Controls: what figures would be if there were nothing to learn.

**Label shuffle.** The chosen kind of head, with the chosen blocks and hyperparameter, is fitted on
training images whose labels were permuted, and tested like the model (Ojala & Garriga, 2010). Over
permutations its balanced accuracy is 1 / K on average for K origins, whatever the images; if
it is more, true labels came into the fit or into the test by a way that they should not have. It
says nothing of images that training and test share, for a permutation parts them from their label:
the split and ``whichgen dataset check`` look for those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import ttest_1samp

from whichgen.evaluation.closed_set import closed_set_metrics
from whichgen.evaluation.detection import auroc
from whichgen.evaluation.predictions import label_indices
from whichgen.heads.base import HeadMethod
from whichgen.openset.prediction import fit_and_predict
from whichgen.progress import Progress, no_progress
from whichgen.training.finalize import EvaluatedModel
from whichgen.training.shortcuts import ShortcutReport
from whichgen.training.split_features import SplitFeatures
from whichgen.training.sweeps import run_in_processes

#: By chance, so rarely are shuffled heads so much better than guessing that a warning comes.
LEVEL = 0.001

#: Balanced accuracies that differ by less are equal but for rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class ShuffleRun:
    """Test figures, in [0, 1], of a head fitted on labels permuted with ``seed``.

    ``auroc`` is ``None`` without unknown images. It need not be one half: images like none seen may
    be told from seen ones whatever these are called.
    """

    seed: int
    accuracy: float
    balanced_accuracy: float
    auroc: float | None


@dataclass(frozen=True)
class ShuffleControl:
    """The result of :func:`run_label_shuffle`.

    Parameters
    ----------
    chance
        1 / K, the balanced accuracy of guessing.
    mean
        Mean balanced accuracy of the shuffled heads.
    p_value
        One-sided, of "no better than chance", by Student's t over shuffles; ``None`` for a single
        one, which can't tell.
    """

    shuffles: tuple[ShuffleRun, ...]
    chance: float
    mean: float
    p_value: float | None

    @property
    def suspicious(self) -> bool:
        """Shuffled heads are right more often than chance allows."""
        return self.p_value is not None and self.p_value < LEVEL


@dataclass(frozen=True)
class Controls:
    """What stands beside a result; ``None``: not asked for."""

    shortcuts: ShortcutReport | None = None
    shuffle: ShuffleControl | None = None


def run_label_shuffle(
    found: EvaluatedModel,
    parts: SplitFeatures,
    head_method: HeadMethod,
    *,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    jobs: int = -1,
    progress: Progress = no_progress,
) -> ShuffleControl:
    """Fits the chosen head on permuted labels, once a seed, and tests it.

    Parameters
    ----------
    found
        The model and its test images.
    head_method
        The kind of head that the model's is of.
    """
    model, train = found.model, parts.tables["train"]
    x = train.blocks(model.blocks)
    labels = label_indices(train.origins, model.origins)
    asked = [table.blocks(model.blocks) for table in (found.known_table, found.unknown_table)]
    calls = (
        (
            head_method,
            x,
            np.random.default_rng(seed).permutation(labels),
            (model.hyperparameter, model.score_method),
            asked,
        )
        for seed in seeds
    )
    answered = progress(
        run_in_processes(fit_and_predict, calls, jobs=jobs),
        description="Shuffling labels",
        total=len(seeds),
    )
    truth = found.known.labels(model.origins)
    shuffles = []
    for seed, ((probabilities, scores), (_, unknown_scores)) in zip(seeds, answered, strict=True):
        closed = closed_set_metrics(probabilities, truth)
        shuffles.append(
            ShuffleRun(
                seed,
                closed.accuracy,
                closed.macro_recall,
                auroc(scores, unknown_scores) if len(unknown_scores) else None,
            )
        )
    return summarize_shuffles(shuffles, 1 / len(model.origins))


def summarize_shuffles(shuffles: Sequence[ShuffleRun], chance: float) -> ShuffleControl:
    """Shuffles with what they say together; ``chance`` is 1 / K."""
    found = np.array([shuffle.balanced_accuracy for shuffle in shuffles])
    if len(found) < 2:
        p_value = None
    elif np.ptp(found) < _ROUNDING:  # no spread, no t
        p_value = float(found.mean() <= chance + _ROUNDING)
    else:
        p_value = float(ttest_1samp(found, chance, alternative="greater").pvalue)
    return ShuffleControl(tuple(shuffles), chance, float(found.mean()), p_value)
