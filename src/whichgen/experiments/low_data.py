"""The low-data regime: how few images of each origin are enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from whichgen.data.dataset import Sample
from whichgen.encoders.base import Encoder
from whichgen.errors import DataError
from whichgen.progress import Progress, no_progress
from whichgen.training.fit_block import FitOptions, fit
from whichgen.training.fit_fusion import FusionOptions, fuse
from whichgen.training.split_features import SplitFeatures

#: Training images a class.
SAMPLES_PER_CLASS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 4000)


@dataclass(frozen=True)
class LowDataPoint:
    """Test figures, in [0, 1], of one fit on ``samples_per_class`` images drawn with ``seed``.

    ``blocks`` and ``value`` (C or k) were chosen.
    """

    samples_per_class: int
    seed: int
    blocks: tuple[int, ...]
    value: float
    accuracy: float
    auroc: float | None
    oscr: float | None


def feasible_sizes(
    parts: SplitFeatures, samples_per_class: Sequence[int] = SAMPLES_PER_CLASS
) -> tuple[int, ...]:
    """Those numbers of images that every known origin has in training, ascending."""
    images = _training_images(parts)
    fewest = min(len(of_origin) for of_origin in images.values())
    possible = tuple(sorted(n for n in set(samples_per_class) if 1 <= n <= fewest))
    if not possible:
        raise DataError(
            f"the smallest known origin has {fewest} training images; none of "
            f"{', '.join(map(str, samples_per_class))} images a class is possible."
        )
    return possible


def subsample_training(parts: SplitFeatures, samples_per_class: int, seed: int) -> SplitFeatures:
    """Draw ``samples_per_class`` training images of each known origin; keep all else.

    With one seed, a smaller draw is a part of every larger one. An image's perturbed copies come
    with it and do not count.
    """
    rows: list[int] = []
    for i, images in enumerate(_training_images(parts).values()):
        order = np.random.default_rng((seed, i)).permutation(len(images))
        copies = list(images.values())
        rows += [row for image in order[:samples_per_class] for row in copies[image]]
    return parts.with_train(np.sort(rows))


def _training_images(parts: SplitFeatures) -> dict[str, dict[Sample, list[int]]]:
    """For each known origin its training images, each with its rows in the training table."""
    images: dict[str, dict[Sample, list[int]]] = {origin: {} for origin in parts.dataset.known}
    for row, sample in enumerate(parts.tables["train"].samples):
        images[sample.origin].setdefault(sample, []).append(row)
    return images


def low_data(
    parts: SplitFeatures,
    encoder: Encoder,
    options: FitOptions | FusionOptions,
    *,
    samples_per_class: Sequence[int] = SAMPLES_PER_CLASS,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    cache: Path | None = None,
    progress: Progress = no_progress,
) -> Iterator[LowDataPoint]:
    """Fits (or fuses, as the options say) and tests for each number of images and each seed.

    Block and hyperparameter are chosen anew for each fit, on the whole validation part (as in the
    paper: only training images are few).
    """
    options = replace(options, thumbnails=False)
    runs = [(n, seed) for n in feasible_sizes(parts, samples_per_class) for seed in seeds]
    for n, seed in progress(runs, description="Low-data fits", total=len(runs)):
        drawn = subsample_training(parts, n, seed)
        result = (
            fuse(drawn, encoder, options)
            if isinstance(options, FusionOptions)
            else fit(drawn, encoder, options, cache=cache)
        )
        found = result.evaluation
        yield LowDataPoint(
            samples_per_class=n,
            seed=seed,
            blocks=result.model.blocks,
            value=result.model.hyperparameter,
            accuracy=found.closed.accuracy,
            auroc=found.detection.auroc if found.detection else None,
            oscr=found.oscr,
        )
