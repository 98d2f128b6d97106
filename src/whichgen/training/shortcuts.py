"""The leak check: how well are origins told apart without a look at the picture?

A random forest (Breiman, 2001) is fitted on the traits of training files
(:mod:`whichgen.data.file_properties`) and tested as a head is. What it reaches, a head may
have reached in the same way: figures mean something only by how far they are above it.

The bar for a warning is on balanced accuracy, the mean recall over the K known origins. Without a
leak it is 1/K on average. It is taken for a share of K · (harmonic mean of the origins' test
images) images, as which it has the variance of a mean of recalls; a warning is given where the
lower bound of its 95 % interval (Wilson, 1927) is over 1/K + 10 points.

Of a losslessly stored file, bytes tell how detailed the picture is, which may be the generator's
own doing: a warning is a reason to look, not a proof.

What it can't see: a trait that all known origins share and the unknown ones don't, on which known
and unknown are told apart without the forest ever using it. ``whichgen dataset check`` sees that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import hmean
from sklearn.ensemble import RandomForestClassifier

from whichgen.data.dataset import Dataset
from whichgen.data.file_properties import PROPERTY_SETS, FileProperties, read_all_properties
from whichgen.errors import DataError
from whichgen.evaluation.closed_set import closed_set_metrics
from whichgen.evaluation.detection import auroc
from whichgen.evaluation.oscr import oscr
from whichgen.evaluation.predictions import label_indices
from whichgen.progress import Progress, no_progress

#: So far over chance must the lower bound of balanced accuracy be for a warning.
MARGIN = 0.10

_Z95 = 1.959963984540054

_TREES = 300

#: What each set of traits means for the reader, and what to do about it.
_ADVICE = {
    "file": "The files give the origin away. Store all origins' images alike: one format and "
    "quality, one size, no metadata. Then check again.",
    "color": "Mean color and contrast give the origin away: the origins' images show different "
    "things, or were processed differently. Take images of the same subjects, processed alike, or "
    "state these figures beside every other.",
    "all": "File and color together give the origin away, though neither does alone. Store all "
    "images alike and take them of the same subjects, or state these figures beside every other.",
}


@dataclass(frozen=True)
class ShortcutMetrics:
    """How well one set of file properties tells origins apart; in [0, 1].

    Parameters
    ----------
    accuracy, balanced_accuracy
        Share of known test images whose origin is found, and its mean over origins. The forest
        counts origins alike, so ``accuracy`` can be under :attr:`ShortcutReport.chance`.
    balanced_accuracy_low
        The lower bound of ``balanced_accuracy`` that a warning goes by.
    detected
        ``low`` is over the bar.
    auroc, oscr
        Known against unknown test images by the largest probability; ``None`` without unknown ones.
    """

    properties: str
    accuracy: float
    balanced_accuracy: float
    balanced_accuracy_low: float
    detected: bool
    auroc: float | None
    oscr: float | None


@dataclass(frozen=True)
class ShortcutReport:
    """The result of :func:`check_shortcuts`.

    Parameters
    ----------
    sets
        Figures of ``file``, ``color`` and ``all`` traits.
    chance
        The share of the most frequent origin among known test images: the accuracy of always
        answering it.
    balanced_chance
        1 / known origins: the balanced accuracy of any such answer.
    warning_level
        ``balanced_chance`` + :data:`MARGIN`.
    message
        What this means, and what to do.
    train_images, test_images, unknown_images
        How many files were read of each part.
    skipped
        Why each of the other files can't be read.
    """

    sets: tuple[ShortcutMetrics, ...]
    chance: float
    balanced_chance: float
    warning_level: float
    message: str
    train_images: int
    test_images: int
    unknown_images: int
    skipped: tuple[str, ...]

    @property
    def detected(self) -> bool:
        """Any of the sets is over the bar."""
        return any(s.detected for s in self.sets)


def check_shortcuts(
    dataset: Dataset, *, seed: int = 0, progress: Progress = no_progress
) -> ShortcutReport:
    """Fits on the traits of ``train`` and tests on those of ``test`` and ``test_unknown``.

    Raises
    ------
    DataError
        A known origin has no readable image in ``train`` or in ``test``.
    """
    train, test, unknown = (
        read_all_properties([s.path for s in dataset.split(part)], progress=progress)
        for part in ("train", "test", "test_unknown")
    )
    train_labels, test_labels = (
        _labels(dataset, part, traits) for part, traits in (("train", train), ("test", test))
    )
    counts = np.bincount(test_labels, minlength=len(dataset.known))
    balanced_chance = 1 / len(dataset.known)
    sets = []
    for name, columns in PROPERTY_SETS.items():
        forest = RandomForestClassifier(
            _TREES, class_weight="balanced", random_state=seed, n_jobs=1
        ).fit(train.columns(columns), train_labels)
        probabilities = forest.predict_proba(test.columns(columns))
        closed = closed_set_metrics(probabilities, test_labels)
        low = _wilson_low(closed.macro_recall, len(counts) * float(hmean(counts)))
        scores = probabilities.max(axis=1)
        correct = probabilities.argmax(axis=1) == test_labels
        strange = (
            forest.predict_proba(unknown.columns(columns)).max(axis=1)
            if len(unknown.rows)
            else None
        )
        sets.append(
            ShortcutMetrics(
                properties=name,
                accuracy=closed.accuracy,
                balanced_accuracy=closed.macro_recall,
                balanced_accuracy_low=low,
                detected=low > balanced_chance + MARGIN,
                auroc=None if strange is None else auroc(scores, strange),
                oscr=None if strange is None else oscr(scores, correct, strange),
            )
        )
    return ShortcutReport(
        sets=tuple(sets),
        chance=float(counts.max() / counts.sum()),
        balanced_chance=balanced_chance,
        warning_level=balanced_chance + MARGIN,
        message=_verdict(sets, balanced_chance),
        train_images=len(train.rows),
        test_images=len(test.rows),
        unknown_images=len(unknown.rows),
        skipped=(*train.errors, *test.errors, *unknown.errors),
    )


def _labels(dataset: Dataset, part: str, traits: FileProperties) -> np.ndarray:
    samples = dataset.split(part)
    origins = np.array([samples[i].origin for i in traits.rows.tolist()])
    empty = [origin for origin in dataset.known if origin not in origins.tolist()]
    if empty:
        first = f" The first file that can't be read: {traits.errors[0]}" if traits.errors else ""
        raise DataError(
            f"{dataset.name}: no readable {part} image of {', '.join(empty)}, so there is nothing "
            f"to check.{first}"
        )
    return label_indices(origins, dataset.known)


def _wilson_low(share: float, n: float) -> float:
    """The lower bound of the 95 % interval of a share of n, which need not be whole."""
    center = share + _Z95**2 / (2 * n)
    half = _Z95 * np.sqrt(share * (1 - share) / n + _Z95**2 / (4 * n**2))
    return float(max(0.0, (center - half) / (1 + _Z95**2 / n)))


def _verdict(sets: Sequence[ShortcutMetrics], chance: float) -> str:
    figures = ", ".join(f"{100 * s.balanced_accuracy:.0f} % by {s.properties}" for s in sets)
    found = f"balanced accuracy without the picture: {figures}; chance is {100 * chance:.0f} %"
    leaking = [s.properties for s in sets if s.detected]
    if not leaking:
        return (
            f"No leak found ({found}). Leaks of another kind are not excluded: see that all "
            "origins' images went through the same hands."
        )
    # All traits together can be over the bar where neither kind is.
    told = [name for name in leaking if name != "all"] or leaking
    return f"GIVE-AWAY: {found}. " + " ".join(_ADVICE[name] for name in told)
