"""Few-shot experiment: accuracy for a generator enrolled from a few images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from whichgen.defaults import FEW_SHOT_SIZES
from whichgen.errors import DataError
from whichgen.evaluation.detection import auroc
from whichgen.evaluation.predictions import label_indices
from whichgen.inference.enroll import enroll
from whichgen.models.origin_model import OriginModel
from whichgen.progress import Progress, no_progress
from whichgen.training.split_features import SplitFeatures

#: Minimum number of test images of the enrolled generator.
MIN_TEST_IMAGES = 5


@dataclass(frozen=True)
class FewShotPoint:
    """Metrics of a model before and after one generator is enrolled; all metrics are in [0, 1].

    Parameters
    ----------
    generator
        Name of the enrolled generator.
    images
        Number of images that the generator is enrolled from.
    seed
        Seed for drawing the images.
    test_images
        Number of test images of the generator: all its images except those for enrollment.
    accuracy_before, accuracy_after
        Closed-set accuracy on test images of the other known origins, before and after enrollment.
    recall
        Fraction of the generator's test images whose most probable origin is the generator.
    accepted
        Fraction of the generator's test images whose most probable origin is the generator and
        whose open-set score is at or above the threshold.
    auroc
        AUROC of known images, including the generator's test images, against images of the other
        unknown generators; ``None`` if there are none.
    """

    generator: str
    images: int
    seed: int
    test_images: int
    accuracy_before: float
    accuracy_after: float
    recall: float
    accepted: float
    auroc: float | None


def measure_few_shot(
    model: OriginModel,
    features: SplitFeatures,
    *,
    image_counts: Sequence[int] = FEW_SHOT_SIZES,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Progress = no_progress,
) -> Iterator[FewShotPoint]:
    """Enroll each unknown generator in the model in turn, and evaluate the extended model.

    This is repeated for each number of images and each seed. Numbers of images that leave fewer
    than :data:`MIN_TEST_IMAGES` test images of the generator are skipped.

    Parameters
    ----------
    model
        The model to extend.
    features
        Features of the splits ``test``, ``val_unknown`` and ``test_unknown``. The images of the two
        unknown splits are pooled.
    image_counts
        Numbers of images to enroll a generator from.
    seeds
        Seeds for drawing the images.

    Yields
    ------
    FewShotPoint
        Metrics for each generator, number of images and seed.

    Raises
    ------
    DataError
        No unknown generator has enough images for any number in ``image_counts``.
    """
    table, known = (
        features.tables["val_unknown"] + features.tables["test_unknown"],
        features.tables["test"],
    )
    unknown, known_test = table.blocks(model.blocks), known.blocks(model.blocks)
    labels = label_indices(known.origins, model.origins)
    runs = [
        (generator, n, seed)
        for generator in sorted(set(table.origins.tolist()))
        for n in sorted(set(image_counts))
        if 1 <= n <= (table.origins == generator).sum() - MIN_TEST_IMAGES
        for seed in seeds
    ]
    if not runs:
        raise DataError(
            f"no unknown generator has enough images to enroll {min(image_counts)} and test on "
            f"{MIN_TEST_IMAGES}. Add images, or fit with other --unknown generators."
        )
    accuracy_before = float((model.head.forward(known_test).logits.argmax(axis=1) == labels).mean())
    for generator, n, seed in progress(runs, description="Enrolling", total=len(runs)):
        is_new = table.origins == generator
        own, others = unknown[is_new], unknown[~is_new]
        order = np.random.default_rng((seed, len(own))).permutation(len(own))
        new = enroll(model, generator, own[order[:n]], cross_validate=False).model
        probabilities, scores = new.predict(own[order[n:]])
        recognized = probabilities.argmax(axis=1) == len(model.origins)
        known_probabilities, known_scores = new.predict(known_test)
        area = None
        if len(others):
            area = auroc(np.concatenate([known_scores, scores]), new.predict(others)[1])
        yield FewShotPoint(
            generator=generator,
            images=n,
            seed=seed,
            test_images=len(own) - n,
            accuracy_before=accuracy_before,
            accuracy_after=float((known_probabilities.argmax(axis=1) == labels).mean()),
            recall=float(recognized.mean()),
            accepted=float((recognized & (scores >= new.threshold)).mean()),
            auroc=area,
        )
