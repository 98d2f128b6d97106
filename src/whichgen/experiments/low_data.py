"""Low-data experiment: metrics for different numbers of training images per origin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from whichgen.data.dataset import Sample
from whichgen.defaults import LOW_DATA_SIZES
from whichgen.encoders.base import Encoder
from whichgen.errors import DataError
from whichgen.progress import Progress, no_progress
from whichgen.training.fit_block import FitOptions, fit
from whichgen.training.fit_fusion import FusionOptions, fuse
from whichgen.training.split_features import SplitFeatures


@dataclass(frozen=True)
class LowDataPoint:
    """Test metrics, in [0, 1], of a model fitted on ``samples_per_class`` images per origin.

    ``seed`` is the seed for drawing the images; ``blocks`` and ``value`` are the selected blocks
    and hyperparameter value (C or k).
    """

    samples_per_class: int
    seed: int
    blocks: tuple[int, ...]
    value: float
    accuracy: float
    auroc: float | None
    oscr: float | None


def feasible_sizes(
    features: SplitFeatures, samples_per_class: Sequence[int] = LOW_DATA_SIZES
) -> tuple[int, ...]:
    """Return the sizes for which every known origin has enough images, in ascending order.

    Raises
    ------
    DataError
        No size is feasible.
    """
    smallest = min(len(images) for images in _training_images(features).values())
    feasible = tuple(sorted(n for n in set(samples_per_class) if 1 <= n <= smallest))
    if not feasible:
        raise DataError(
            f"the smallest known origin has {smallest} training images, too few for "
            f"{', '.join(map(str, samples_per_class))} per origin. Choose smaller sizes, or add "
            "images."
        )
    return feasible


def subsample_training(features: SplitFeatures, samples_per_class: int, seed: int) -> SplitFeatures:
    """Draw ``samples_per_class`` training images of each known origin; keep the other splits.

    With the same seed, smaller samples are subsets of larger samples. The sample includes all
    perturbed copies of its images, which are not counted.
    """
    rows: list[int] = []
    for i, images in enumerate(_training_images(features).values()):
        order = np.random.default_rng((seed, i)).permutation(len(images))
        copies = list(images.values())
        rows += [row for image in order[:samples_per_class] for row in copies[image]]
    train = features.tables["train"].take(np.sort(rows))
    return replace(features, tables={**features.tables, "train": train})


def _training_images(features: SplitFeatures) -> dict[str, dict[Sample, list[int]]]:
    """Map each known origin to its training images, and each image to its rows in the table."""
    images: dict[str, dict[Sample, list[int]]] = {o: {} for o in features.dataset.known}
    for row, sample in enumerate(features.tables["train"].samples):
        images[sample.origin].setdefault(sample, []).append(row)
    return images


def low_data(
    features: SplitFeatures,
    encoder: Encoder,
    options: FitOptions | FusionOptions,
    *,
    samples_per_class: Sequence[int] = LOW_DATA_SIZES,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    cache: Path | None = None,
    progress: Progress = no_progress,
) -> Iterator[LowDataPoint]:
    """Fit and evaluate a model for each number of images and each seed.

    Block and hyperparameter are selected anew for each fit. As in the paper (UniversalAttribution),
    only the training set is reduced; the validation set remains complete.
    """
    options = replace(options, thumbnails=False)
    runs = [(n, seed) for n in feasible_sizes(features, samples_per_class) for seed in seeds]
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
