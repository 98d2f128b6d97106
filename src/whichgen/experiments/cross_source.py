"""Cross-source experiment: evaluate a method on held-out sources.

The images are divided into folds such that no source is in two folds. Each fold is the test set of
a model that is selected, fitted and calibrated on the other folds. For comparison, the command
``whichgen cross-source`` repeats the experiment with folds that ignore sources. The difference
shows how much a method relies on properties that images of one source share. Metrics with folds
that ignore sources are optimistic, because users attribute images from new sources.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import ceil
from typing import Any

import numpy as np

from whichgen.constants import REAL
from whichgen.data.dataset import SPLITS, Dataset, Sample
from whichgen.data.images.image_reader import ImageReader
from whichgen.data.splits.source_folds import assign_folds
from whichgen.encoders.encoder import Encoder
from whichgen.errors import DataError
from whichgen.evaluation.bootstrap import Interval, bootstrap_intervals
from whichgen.evaluation.calibration import compute_calibration_metrics
from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.source_counts import SourceResult, count_by_source
from whichgen.evaluation.training_sources import NEW_SOURCES
from whichgen.features.table import FeatureTable
from whichgen.option_names import name_option
from whichgen.progress import Progress, no_progress
from whichgen.training.finalize_model import predict_table
from whichgen.training.fit_block import FitOptions, fit
from whichgen.training.fit_fusion import FusionOptions, fuse
from whichgen.training.fit_views import AGREEMENT
from whichgen.training.split_features import SplitFeatures

#: Headline metrics of the experiment.
CROSS_SOURCE_METRICS = ("accuracy", "macro_recall", "auroc", "oscr", "synthetic_auroc")

#: Settings of a fusion across sources. The default grid of :class:`FusionOptions` takes much longer
#: because it also contains values with less regularization, which suit images of the same sources.
#: Of C = 1, 10 and 100, selection on ../shared/wild chose 100 in seven of eight folds.
FUSION_GRID: dict[str, Any] = {"values": (100.0,), "shrinkages": (0.1,), "scores": (AGREEMENT,)}


@dataclass(frozen=True)
class SourceSplit:
    """Options for dividing images into folds.

    Parameters
    ----------
    n_folds
        Number of folds, at least 3: one for testing, one for validation, the remaining folds for
        training.
    by_source
        Whether all images of a source are in the same fold. Otherwise, sources are ignored, and
        only images of the same group are kept together.
    share
        Fraction of the sources of each origin in the other folds that is used for training and
        validation, in (0, 1]; at least two sources are used.
    seed
        Seed for dividing the images and for drawing the sources.
    """

    n_folds: int = 8
    by_source: bool = True
    share: float = 1.0
    seed: int = 0

    @property
    def title(self) -> str:
        """Description of the test sources, for tables and figures."""
        if not self.by_source:
            return "same sources (optimistic)"
        return NEW_SOURCES + (f", {self.share:.0%} of sources" if self.share < 1 else "")


@dataclass(frozen=True)
class CrossSourceResult:
    """Predictions for the test images of all folds, and their metrics.

    The prediction for each image is from a model that was not trained on the image's fold.

    Parameters
    ----------
    split
        How the images were divided.
    origins
        The known origins.
    known, unknown
        Predictions for the test images of known origins and of unknown generators, with their
        sources.
    answers
        The answer for each known and then each unknown image.
    paths
        Path of each known and then each unknown image.
    metrics
        Value and confidence interval of each metric that is defined, by name. The resampling unit
        is the source.
    calibration_error
        Expected calibration error of the probabilities of the known images, in [0, 1].
    models
        Description of the model of each fold: ``method``, ``blocks``, ``value`` (C or k), ``score``
        (name of the open-set score), ``threshold``, and ``accepted``
        (:attr:`whichgen.models.origin_model.OriginModel.tpr`).
    """

    split: SourceSplit
    origins: tuple[str, ...]
    known: Predictions
    unknown: Predictions
    answers: tuple[str, ...]
    paths: tuple[str, ...]
    metrics: dict[str, Interval]
    calibration_error: float
    models: tuple[dict[str, object], ...]

    @property
    def images(self) -> Predictions:
        """Predictions for the known and then the unknown images."""
        return Predictions.concatenate([self.known, self.unknown])

    def iterate_image_rows(self) -> Iterator[dict[str, object]]:
        """Yield a table row for each known and then each unknown image.

        The columns are ``path``, ``origin``, ``source``, ``answer``, ``most probable origin``,
        ``probability`` (of this origin) and ``score`` (open-set score).
        """
        images, predicted = self.images, self.images.predicted
        for i, (path, answer) in enumerate(zip(self.paths, self.answers, strict=True)):
            yield {
                "path": path,
                "origin": images.origins[i],
                "source": images.sources[i],  # type: ignore[index]
                "answer": answer,
                "most probable origin": self.origins[predicted[i]],
                "probability": float(images.probabilities[i].max()),
                "score": float(images.scores[i]),
            }

    def count_by_source(self) -> list[SourceResult]:
        """Count the answers for each source of each origin."""
        return count_by_source(self.images, self.answers, self.origins)


def make_fold_datasets(
    name: str,
    samples: Sequence[Sample],
    unknown_val: Sequence[str],
    unknown_test: Sequence[str],
    split: SourceSplit,
    *,
    links: Sequence[tuple[int, int]] = (),
) -> list[Dataset]:
    """Create the dataset of each fold: its test images, and the images for training a model.

    Parameters
    ----------
    name
        Name of the dataset.
    samples
        All images, with their sources.
    unknown_val, unknown_test
        Unknown generators for selection and for testing; all other origins are known.
    split
        How to divide the images.
    links
        Pairs of indices of images that must be in the same fold, such as near-duplicates.

    Returns
    -------
    list of Dataset
        One dataset per fold. With ``by_source=False``, the source of each image is replaced with
        its group or, without a group, with its path.

    Raises
    ------
    DataError
        An image has no source, there are fewer than three folds, ``split.share`` is out of range,
        or a known origin has fewer than two sources for training and validation in a fold.
    """
    if missing := [s for s in samples if not s.source]:
        raise DataError(
            f"{missing[0].path} has no source. Set the sources with {name_option('--sources')}."
        )
    if split.n_folds < 3:
        raise DataError(
            f"cross-source evaluation needs at least 3 folds, got {split.n_folds}. Increase "
            f"{name_option('--folds', '`n_folds`')}."
        )
    if not 0 < split.share <= 1:  # also rejects NaN
        raise DataError(
            f"the fraction of training sources is {split.share:g}, but it must be greater than 0 "
            f"and at most 1. Correct {name_option('--shares', '`share`')}."
        )
    if not split.by_source:  # treat each image, or group of images, as a separate source
        samples = [replace(s, source=s.group or str(s.path)) for s in samples]
    fold_of = assign_folds(samples, split.n_folds, split.seed, links=links)
    origins = list(dict.fromkeys(s.origin for s in samples))
    unknown = (*unknown_val, *unknown_test)
    known = sorted((o for o in origins if o not in unknown), key=lambda o: o != REAL)
    datasets = []
    for k in range(split.n_folds):
        in_share = _draw_sources(samples, fold_of != k, split)
        test = [s for s, f in zip(samples, fold_of, strict=True) if f == k]
        val_fold = (k + 1) % split.n_folds
        training_pairs = [
            (sample, fold)
            for sample, fold, is_drawn in zip(samples, fold_of, in_share, strict=True)
            if fold != k and is_drawn
        ]
        datasets.append(
            Dataset(
                name=f"{name}, fold {k + 1}",
                known=tuple(known),
                unknown=unknown,
                train=tuple(s for s, f in training_pairs if f != val_fold and s.origin in known),
                val=tuple(s for s, f in training_pairs if f == val_fold and s.origin in known),
                test=tuple(s for s in test if s.origin in known),
                val_unknown=tuple(s for s, _ in training_pairs if s.origin in unknown_val),
                test_unknown=tuple(s for s in test if s.origin in unknown_test),
            )
        )
    for dataset in datasets:
        _check_training_sources(dataset, samples)
    return datasets


def _check_training_sources(dataset: Dataset, samples: Sequence[Sample]) -> None:
    """Raise :class:`DataError` if a known origin has fewer than two sources in train and val.

    ``dataset`` is the dataset of a fold, and ``samples`` are the images of all folds.
    """
    pairs = {(s.origin, s.source) for s in (*dataset.train, *dataset.val)}
    training_counts = Counter(origin for origin, _ in pairs)
    if missing := [origin for origin in dataset.known if training_counts[origin] < 2]:
        counts = Counter(origin for origin, _ in {(s.origin, s.source) for s in samples})
        numbers = ", ".join(f"{origin} has {counts[origin]}" for origin in missing)
        raise DataError(
            f"too few sources: {numbers}. Add sources until every known origin has at least three "
            "(sources that share near-duplicates count as one), or add the origin to "
            f"{name_option('--unknown')}."
        )


def _draw_sources(
    samples: Sequence[Sample], is_usable: np.ndarray, split: SourceSplit
) -> np.ndarray:
    """Draw the fraction ``split.share`` of the sources of each origin, but at least two.

    ``is_usable`` states for each of the n samples whether its source may be drawn: bool array (n,).
    The result states for each sample whether its source was drawn: bool array (n,).
    """
    if split.share == 1:
        return is_usable
    mask = np.zeros(len(samples), dtype=bool)
    pairs = np.array([f"{s.origin}\0{s.source}" for s in samples])
    for i, origin in enumerate(dict.fromkeys(s.origin for s in samples)):
        rows = is_usable & np.array([s.origin == origin for s in samples])
        sources = np.unique(pairs[rows])
        count = max(2, ceil(split.share * len(sources)))
        subset = np.random.default_rng((split.seed, i)).permutation(sources)[:count]
        mask |= rows & np.isin(pairs, subset)
    return mask


def evaluate_cross_source(
    datasets: Sequence[Dataset],
    images: FeatureTable,
    encoder: Encoder,
    options: FitOptions | FusionOptions,
    split: SourceSplit,
    *,
    reader: ImageReader | None = None,
    progress: Progress = no_progress,
) -> CrossSourceResult:
    """Fit and test a model for each fold, and compute metrics over the images of all folds.

    Parameters
    ----------
    datasets
        The dataset of each fold (:func:`make_fold_datasets`).
    images
        Features of the images of all folds.
    encoder
        The encoder that computed the features.
    options
        Options of the method: a fusion for :class:`FusionOptions`, otherwise a head on one block.
    split
        How the images were divided; its seed is also the seed of the bootstrap.
    reader
        Collects facts about image files
        (:class:`~whichgen.data.images.image_facts.ImageFacts`); by default, the facts are kept only
        in memory.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Raises
    ------
    DataError
        A fold has no test image of a known origin.
    DataError, FitError
        See :func:`~whichgen.training.fit_fusion.fuse` and
        :func:`~whichgen.training.fit_block.fit`.
    StoreError
        The features or the facts about the images can't be read or written.

    Warns
    -----
    WhichgenWarning
        A head or probe did not converge at some settings, which can't be selected.
    """
    reader = reader or ImageReader()
    options = replace(options, thumbnails=False)
    rows = {sample.path: row for row, sample in enumerate(images.samples)}
    parts, models = [], []
    for dataset in progress(datasets, description="Folds", total=len(datasets)):
        tables = {}
        for name in SPLITS:
            samples = [s for s in dataset.split(name) if s.path in rows]
            table = images.take([rows[s.path] for s in samples])
            tables[name] = replace(table, samples=tuple(samples))
        features = SplitFeatures(dataset, tables, reader)
        model = (
            fuse(features, encoder, options)
            if isinstance(options, FusionOptions)
            else fit(features, encoder, options)
        ).model
        for name in ("test", "test_unknown"):
            predictions, (answer, _, _) = predict_table(model, tables[name])
            # Without ``by_source``, the sources of the dataset are groups or paths.
            sources = [images.samples[rows[s.path]].source for s in tables[name].samples]
            parts.append((name, predictions, sources, answer, tables[name].samples))
        models.append(
            {
                "method": model.head_method,
                "blocks": list(model.blocks),
                "value": model.hyperparameter,
                "score": model.score_method,
                "threshold": model.threshold,
                "accepted": model.tpr,
            }
        )
    origins = datasets[0].known
    pooled = [
        _pool_folds([part[1:] for part in parts if part[0] == n]) for n in ("test", "test_unknown")
    ]
    (known, known_answers, known_paths), (unknown, unknown_answers, unknown_paths) = pooled
    answers = (*known_answers, *unknown_answers)
    return CrossSourceResult(
        split=split,
        origins=origins,
        known=known,
        unknown=unknown,
        answers=answers,
        paths=(*known_paths, *unknown_paths),
        metrics=bootstrap_intervals(known, unknown, origins, answers=answers, seed=split.seed),
        calibration_error=compute_calibration_metrics(
            known.probabilities, known.get_labels(origins)
        ).ece,
        models=tuple(models),
    )


def _pool_folds(
    parts: Sequence[tuple[Predictions, Sequence[str], Sequence[str], Sequence[Sample]]],
) -> tuple[Predictions, tuple[str, ...], tuple[str, ...]]:
    """Concatenate the predictions, sources, answers and paths of all folds."""
    predictions, sources, answers, samples = zip(*parts, strict=True)
    names = np.array(list(chain(*sources)), dtype=str)
    pooled = replace(Predictions.concatenate(predictions), sources=names)
    return pooled, tuple(chain(*answers)), tuple(str(s.path) for s in chain(*samples))
