"""Shortcut check: how well file properties, mean color and contrast alone predict the origin.

For each set of properties (:mod:`whichgen.data.checks.shortcut_properties`), a random forest
(Breiman, 2001) is fitted on the training files and evaluated on the test files. A model may use the
same shortcut, so its metrics are meaningful only to the extent that they exceed those of the
forests.

The warning is based on balanced accuracy, which is the mean recall over the K known origins. Its
expected value without a shortcut is 1/K. The check warns if, for any set of properties, the lower
bound of the 95 % confidence interval of balanced accuracy (Wilson, 1927) exceeds 1/K + 10
percentage points. The sample size of the interval is K times the harmonic mean of the number of
test images per origin. With this size, the variance of a proportion equals the variance of a mean
of K recalls with the same expected value.

The size of a losslessly compressed file depends on the level of detail, which can be a genuine
property of the generator. A warning is therefore a reason to inspect the data, not a proof.

If a split has more than :data:`MAX_FILES` files, at most :data:`MAX_FILES` divided by the number of
origins in the split are drawn at random from each origin.

The check does not detect properties that differ only between known and unknown origins. To detect
them, run ``whichgen dataset check``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import hmean
from sklearn.ensemble import RandomForestClassifier

from whichgen.data.checks.shortcut_properties import (
    PROPERTY_SETS,
    list_properties,
    select_properties,
)
from whichgen.data.dataset import Dataset, Sample, make_missing_error
from whichgen.data.images.image_facts import ImageFacts
from whichgen.data.images.image_reader import ImageReader
from whichgen.errors import ImageError
from whichgen.evaluation.closed_set import compute_closed_set_metrics
from whichgen.evaluation.predictions import encode_labels
from whichgen.progress import Progress, no_progress
from whichgen.training.selection import compute_selection_metrics

#: The check warns if the lower bound of balanced accuracy exceeds 1/K, the balanced accuracy of a
#: constant prediction, by more than this value.
WARNING_MARGIN = 0.10

#: Maximum number of files that are read per split. Forests for a million files would take hours and
#: tens of gigabytes.
MAX_FILES = 10_000

#: 97.5 % quantile of the standard normal distribution, for a two-sided 95 % interval.
_Z95 = 1.959963984540054

#: Number of trees in a forest.
_TREES = 300

#: Advice in the warning, for each set of properties.
_ADVICE = {
    "file": "File properties predict the origin. Re-encode the original images of all origins "
    "alike (one format, quality and size, no metadata), then check again; saving JPEG files in "
    "another format is not enough, because traces of JPEG compression remain.",
    "color": "Mean color and contrast predict the origin. Collect images of the same subjects with "
    "the same processing for every origin, or report these metrics with all results.",
    "all": "File properties and color predict the origin only together. Re-encode all original "
    "images alike and collect images of the same subjects, or report these metrics with all "
    "results.",
}


@dataclass(frozen=True)
class ShortcutMetrics:
    """How well one set of properties predicts the origin; all rates are in [0, 1].

    Parameters
    ----------
    properties
        Name of the set: ``file``, ``color`` or ``all``.
    accuracy, balanced_accuracy
        Fraction of known test images whose origin is predicted correctly, and mean recall over
        origins. The forest weights origins equally, so ``accuracy`` can be less than
        :attr:`ShortcutReport.chance`.
    balanced_accuracy_low
        Lower bound of the 95 % confidence interval of ``balanced_accuracy``.
    detected
        Whether ``balanced_accuracy_low`` exceeds :attr:`ShortcutReport.warning_level`.
    auroc, oscr
        Metrics of known against unknown test images, with the maximum probability as open-set
        score; ``None`` without unknown images.
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
    """Result of :func:`check_shortcuts`.

    Parameters
    ----------
    sets
        Metrics for each set of properties: ``file``, ``color`` and ``all``.
    chance
        Accuracy of always predicting the most frequent origin of the known test images.
    balanced_chance
        1 / K for K known origins: the balanced accuracy of any constant prediction.
    warning_level
        ``balanced_chance`` + :data:`WARNING_MARGIN`.
    message
        Summary of the result and recommended action.
    train_images, test_images, unknown_images
        Number of files in the splits ``train``, ``test`` and ``test_unknown`` whose properties were
        read.
    skipped
        Error message of each unreadable file.
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
        """Whether the check warns: ``detected`` is true for at least one set of properties."""
        return any(s.detected for s in self.sets)


def check_shortcuts(
    dataset: Dataset,
    reader: ImageReader | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
) -> ShortcutReport:
    """Fit random forests on properties of training images, and evaluate them on test images.

    One forest is fitted for each set of properties: ``file``, ``color`` and ``all``.

    Parameters
    ----------
    dataset
        The dataset, whose files in ``train``, ``test`` and ``test_unknown`` are read.
    reader
        Reads the files; by default, nothing is cached.
    seed
        Seed of the forests and of the choice of files.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Returns
    -------
    ShortcutReport
        Metrics for each set of properties, and a summary.

    Raises
    ------
    DataError
        A known origin has no readable image in ``train`` or ``test``.
    StoreError
        The reader's cache can't be read or written.
    """
    reader = reader or ImageReader()
    train, test, unknown = (
        _read_files(_draw_samples(dataset.split(split), seed), reader, progress)
        for split in ("train", "test", "test_unknown")
    )
    train_labels = _label_files(dataset, "train", train)
    test_labels = _label_files(dataset, "test", test)
    counts = np.bincount(test_labels, minlength=len(dataset.known))
    chance = 1 / len(dataset.known)
    sets = []
    for name, columns in PROPERTY_SETS.items():
        forest = RandomForestClassifier(
            _TREES, class_weight="balanced", random_state=seed, n_jobs=1
        ).fit(select_properties(train.properties, columns), train_labels)
        probabilities = forest.predict_proba(select_properties(test.properties, columns))
        unknown_scores = np.empty(0)
        if len(unknown.properties):
            values = select_properties(unknown.properties, columns)
            unknown_scores = forest.predict_proba(values).max(axis=1)
        closed_metrics = compute_closed_set_metrics(probabilities, test_labels)
        correct = probabilities.argmax(axis=1) == test_labels
        metrics = compute_selection_metrics(probabilities.max(axis=1), correct, unknown_scores)
        low = _compute_wilson_bound(closed_metrics.macro_recall, len(counts) * float(hmean(counts)))
        detected = low > chance + WARNING_MARGIN
        sets.append(
            ShortcutMetrics(
                name, metrics.accuracy, closed_metrics.macro_recall, low, detected, *metrics[1:]
            )
        )
    return ShortcutReport(
        sets=tuple(sets),
        chance=float(counts.max() / counts.sum()),
        balanced_chance=chance,
        warning_level=chance + WARNING_MARGIN,
        message=_summarize(sets, chance),
        train_images=len(train.properties),
        test_images=len(test.properties),
        unknown_images=len(unknown.properties),
        skipped=(*train.errors, *test.errors, *unknown.errors),
    )


def _draw_samples(samples: Sequence[Sample], seed: int) -> Sequence[Sample]:
    """Return at most :data:`MAX_FILES` samples in their order, with the same limit per origin."""
    if len(samples) <= MAX_FILES:
        return samples
    origins = np.unique([s.origin for s in samples], return_inverse=True)[1]
    n_origins = int(origins.max()) + 1
    limit = max(1, MAX_FILES // n_origins)
    order = np.random.default_rng(seed).permutation(len(samples))
    rows = [order[origins[order] == origin][:limit] for origin in range(n_origins)]
    return [samples[i] for i in np.sort(np.concatenate(rows))]


class _Files(NamedTuple):
    """File properties and origins of readable files, and error messages of unreadable files."""

    properties: np.ndarray
    origins: np.ndarray
    errors: tuple[str, ...]


def _read_files(samples: Sequence[Sample], reader: ImageReader, progress: Progress) -> _Files:
    files = list(reader.read(samples, progress=progress))
    pairs = zip(samples, files, strict=True)
    return _Files(
        list_properties([file for file in files if isinstance(file, ImageFacts)]),
        np.array([sample.origin for sample, file in pairs if isinstance(file, ImageFacts)]),
        tuple(str(file) for file in files if isinstance(file, ImageError)),
    )


def _label_files(dataset: Dataset, split: str, files: _Files) -> np.ndarray:
    """Return the origin index of each readable file; require a file of each known origin."""
    if missing := [origin for origin in dataset.known if origin not in files.origins.tolist()]:
        purpose = "the shortcut check needs images of every known origin, but there is "
        raise make_missing_error(split, missing, files.errors, f"{dataset.name}: {purpose}")
    return encode_labels(files.origins, dataset.known)


def _compute_wilson_bound(proportion: float, n: float) -> float:
    """Compute the lower bound of the 95 % Wilson interval of a proportion in [0, 1].

    ``n`` is the sample size, which may be fractional.
    """
    center = proportion + _Z95**2 / (2 * n)
    half_width = _Z95 * np.sqrt(proportion * (1 - proportion) / n + _Z95**2 / (4 * n**2))
    return float(max(0.0, (center - half_width) / (1 + _Z95**2 / n)))


def _summarize(sets: Sequence[ShortcutMetrics], chance: float) -> str:
    accuracies = ", ".join(f"{s.properties} {100 * s.balanced_accuracy:.0f} %" for s in sets)
    figures = f"balanced accuracy by {accuracies}; chance {100 * chance:.0f} %"
    shortcut_sets = [s.properties for s in sets if s.detected]
    if not shortcut_sets:
        return (
            f"No shortcut detected in file properties, mean color and contrast ({figures}). To "
            "detect other shortcuts, such as JPEG files of one origin that were saved as PNG, run "
            "`whichgen dataset check`."
        )
    # "all" can exceed the warning level even if neither "file" nor "color" does.
    names = [name for name in shortcut_sets if name != "all"] or shortcut_sets
    advice = " ".join(_ADVICE[name] for name in names)
    return f"Shortcut warning: {figures}. {advice}"
