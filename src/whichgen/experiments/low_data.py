"""Low-data experiment: metrics for different numbers of training images per origin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from whichgen.data.dataset import Sample
from whichgen.defaults import LOW_DATA_SIZES
from whichgen.encoders.encoder import Encoder
from whichgen.errors import DataError
from whichgen.evaluation.protocols import PAPER, make_protocol
from whichgen.evaluation.training_sources import compare_sources
from whichgen.option_names import name_option
from whichgen.phrases import format_count
from whichgen.progress import Progress, no_progress
from whichgen.training.fit_block import FitOptions, fit
from whichgen.training.fit_fusion import FusionOptions, fuse
from whichgen.training.held_out import collect_training_sources, has_sources
from whichgen.training.split_features import SplitFeatures


@dataclass(frozen=True)
class LowDataPoint:
    """Test metrics of a model fitted on a subset of the training images.

    Parameters
    ----------
    samples_per_class
        Number of training images per known origin.
    seed
        Seed for drawing the training images.
    blocks
        Indices of the selected blocks.
    value
        Selected value of the hyperparameter (C or k).
    accuracy, auroc, oscr
        Test metrics, in [0, 1]; ``auroc`` and ``oscr`` are ``None`` without unknown images.
    """

    samples_per_class: int
    seed: int
    blocks: tuple[int, ...]
    value: float
    accuracy: float
    auroc: float | None
    oscr: float | None


def check_low_data_method(options: FitOptions | FusionOptions, *, has_sources: bool) -> None:
    """Check that the method is fitted only on the training images.

    ``options`` are the options of the method, and ``has_sources`` states whether every training
    image has a source.

    Raises
    ------
    DataError
        The method is a fusion, the protocol is not ``paper``, and the images have sources. Such a
        fusion is also fitted on the validation images, whose number is not reduced.
    """
    if isinstance(options, FusionOptions) and has_sources and options.protocol != PAPER:
        raise DataError(
            "the low-data experiment does not support a fusion with sources, because such a fusion "
            "is also fitted on the validation images. Use a linear probe or k-NN, or measure the "
            "effect of the number of sources with `whichgen cross-source --shares 0.25,0.5`."
        )


def describe_low_data_sources(features: SplitFeatures, options: FitOptions | FusionOptions) -> str:
    """Return a note on the sources of the test images.

    The note is empty if a training or test image has no source. ``options`` define the protocol,
    and thereby the test images.

    Raises
    ------
    DataError
        The protocol is ``paper``, and the dataset has no unknown validation images.
    """
    protocol = make_protocol(features.dataset, options.protocol, seed=options.seed)
    known, unknown = features.select_test_tables(protocol)
    training, names = collect_training_sources(features), (known + unknown).sources
    if training is None or names is None:
        return ""
    overlap = compare_sources(names, training)
    return f"{overlap.note} The deviation over seeds does not include the variation over sources."


def select_feasible_sizes(
    features: SplitFeatures, samples_per_class: Sequence[int] = LOW_DATA_SIZES
) -> tuple[int, ...]:
    """Return the numbers of images per origin for which every origin has enough training images.

    Parameters
    ----------
    features
        Features of all splits, of which only the training images are used.
    samples_per_class
        Numbers of training images per known origin to choose from.

    Returns
    -------
    tuple of int
        The feasible numbers, which are at least 1, in ascending order and without duplicates.

    Raises
    ------
    DataError
        No number is feasible.
    """
    smallest_count = min(len(images) for images in _map_training_images(features).values())
    feasible_sizes = tuple(sorted(n for n in set(samples_per_class) if 1 <= n <= smallest_count))
    if not feasible_sizes:
        raise DataError(
            f"the numbers of images per origin are {list(samples_per_class)}, but the smallest "
            f"known origin has {format_count(smallest_count, 'training image')}. Choose at least "
            f"one number from 1 to {smallest_count} with "
            f"{name_option('--shots', '`samples_per_class`')}, or add images."
        )
    return feasible_sizes


def subsample_training(features: SplitFeatures, samples_per_class: int, seed: int) -> SplitFeatures:
    """Draw ``samples_per_class`` training images of each known origin; keep the other splits.

    All images of an origin with fewer images are kept. With the same seed, smaller subsets are
    contained in larger subsets. Perturbed copies of the drawn images are included in the subset but
    not counted.
    """
    rows: list[int] = []
    for i, images in enumerate(_map_training_images(features).values()):
        order = np.random.default_rng((seed, i)).permutation(len(images))
        copies = list(images.values())
        rows += [row for image in order[:samples_per_class] for row in copies[image]]
    train = features.tables["train"].take(np.sort(rows))
    return replace(features, tables={**features.tables, "train": train})


def _map_training_images(features: SplitFeatures) -> dict[str, dict[Sample, list[int]]]:
    """Map each known origin to its training images, and each image to its row numbers.

    The table ``train`` has one row for the image and one for each perturbed copy of it.
    """
    images: dict[str, dict[Sample, list[int]]] = {o: {} for o in features.dataset.known}
    for row, sample in enumerate(features.tables["train"].samples):
        images[sample.origin].setdefault(sample, []).append(row)
    return images


def measure_low_data(
    features: SplitFeatures,
    encoder: Encoder,
    options: FitOptions | FusionOptions,
    *,
    samples_per_class: Sequence[int] = LOW_DATA_SIZES,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    cache: Path | None = None,
    progress: Progress = no_progress,
) -> Iterator[LowDataPoint]:
    """Fit and evaluate a model for each number of training images and each seed.

    Blocks and hyperparameters are selected for each fit. As in the paper (UniversalAttribution),
    only the training set is reduced; the validation set remains complete.

    Parameters
    ----------
    features
        Features of all splits.
    encoder
        The encoder that computed the features.
    options
        Options of the method: a fusion for :class:`FusionOptions`, otherwise a head on one block.
    samples_per_class
        Numbers of training images per known origin. Numbers that are not feasible
        (:func:`select_feasible_sizes`) are skipped.
    seeds
        Seeds for drawing the training images.
    cache
        Folder that caches the metrics of finished sweeps; ``None`` disables the cache. Not used for
        a fusion.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Yields
    ------
    LowDataPoint
        Test metrics for each number of training images, in ascending order, and each seed.

    Raises
    ------
    DataError
        No number in ``samples_per_class`` is feasible (:func:`select_feasible_sizes`), or the
        method does not support sources (:func:`check_low_data_method`).
    DataError, FitError, OSError
        See :func:`~whichgen.training.fit_block.fit` and
        :func:`~whichgen.training.fit_fusion.fuse`.
    StoreError
        The features or the facts about the images can't be read or written.

    Warns
    -----
    WhichgenWarning
        A head did not converge at some hyperparameter values, which can't be selected.
    """
    check_low_data_method(options, has_sources=has_sources(features))
    options = replace(options, thumbnails=False)
    runs = [(n, seed) for n in select_feasible_sizes(features, samples_per_class) for seed in seeds]
    for n, seed in progress(runs, description="Low-data fits", total=len(runs)):
        subset = subsample_training(features, n, seed)
        result = (
            fuse(subset, encoder, options)
            if isinstance(options, FusionOptions)
            else fit(subset, encoder, options, cache=cache)
        )
        metrics, model = result.model.metrics, result.model
        yield LowDataPoint(
            samples_per_class=n,
            seed=seed,
            blocks=model.blocks,
            value=model.hyperparameter,
            **{name: metrics[name] for name in ("accuracy", "auroc", "oscr")},
        )
