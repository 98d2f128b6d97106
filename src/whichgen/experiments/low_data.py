"""Low-data regime: how many training images per origin are enough."""

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
    """Test metrics, in [0, 1], of one fit on ``samples_per_class`` images drawn with ``seed``.

    ``blocks`` and ``value`` (C or k) are those selected.
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
    """Return the sizes for which every known origin has enough training images, ascending."""
    smallest = min(len(images) for images in _training_images(features).values())
    feasible = tuple(sorted(n for n in set(samples_per_class) if 1 <= n <= smallest))
    if not feasible:
        raise DataError(
            f"the smallest known origin has {smallest} training images, fewer than each of "
            f"{', '.join(map(str, samples_per_class))}. Ask for smaller sizes, or add images."
        )
    return feasible


def subsample_training(features: SplitFeatures, samples_per_class: int, seed: int) -> SplitFeatures:
    """Draw ``samples_per_class`` training images of each known origin, and keep all other splits.

    For the same seed, a smaller draw is a subset of every larger one. An image's perturbed copies
    are drawn with it and do not count.
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

    Block and hyperparameter are selected again for each fit, on the whole validation split (as in
    the paper: only training images are few).
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
