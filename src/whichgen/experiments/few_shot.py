"""Few-shot experiment: metrics of a model after a generator is enrolled from a few images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from whichgen.data.dataset import Sample
from whichgen.defaults import FEW_SHOT_SIZES
from whichgen.errors import DataError
from whichgen.evaluation.predictions import encode_labels
from whichgen.evaluation.unknown_detection import compute_auroc
from whichgen.features.table import FeatureTable
from whichgen.inference.enroll import enroll
from whichgen.models.origin_model import OriginModel
from whichgen.option_names import name_option
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
        Number of images used to enroll the generator.
    seed
        Seed for drawing the images.
    test_images
        Number of test images of the generator: all its images that are not enrolled or, with
        sources, all images from the half of its sources that is not used for enrollment.
    accuracy_before, accuracy_after
        Closed-set accuracy on test images of the other known origins, before and after enrollment.
    recall
        Fraction of the generator's test images whose most probable origin is the generator.
    accepted
        Fraction of the generator's test images whose most probable origin is the generator and
        whose open-set score is at or above the threshold.
    auroc
        AUROC of known images, including the generator's test images, against images of the other
        unknown generators; ``None`` if there are no such images.
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


def describe_few_shot_sources(features: SplitFeatures) -> str:
    """Return a note on the sources of enrolled and test images; empty if an image has no source.

    ``features`` contains the features of the splits ``val_unknown`` and ``test_unknown``.
    """
    if _pool_unknown_images(features).sources is None:
        return ""
    return (
        "The enrolled images and the test images of a generator are from different sources. "
        "Generators with only one source are omitted."
    )


def draw_images(samples: Sequence[Sample], n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw images of a generator for enrollment and for testing.

    ``n`` images are drawn for enrollment, and the others are test images. If every image has a
    source, the sources are first divided at random into two halves (the first is rounded up). The
    images for enrollment are then drawn from the first half, and all images of the second half are
    test images.

    Parameters
    ----------
    samples
        All images of the generator.
    n
        Number of images to enroll.
    seed
        Seed for drawing the sources and images.

    Returns
    -------
    enroll_indices, test_indices
        Indices in ``samples``: int64 arrays (at most n,) and (m,). ``enroll_indices`` is shorter
        than n if fewer images can be drawn; ``test_indices`` is empty if no images remain or there
        is only one source.
    """
    rng = np.random.default_rng((seed, len(samples)))
    order, sources = rng.permutation(len(samples)), np.array([s.source for s in samples], dtype=str)
    if not sources.all():
        return order[:n], order[n:]
    names = rng.permutation(np.unique(sources))
    is_enrolled = np.isin(sources[order], names[: (len(names) + 1) // 2])
    return order[is_enrolled][:n], order[~is_enrolled]


@dataclass(frozen=True)
class EnrollmentDraw:
    """Images of one generator, drawn for enrollment and for testing.

    Parameters
    ----------
    generator
        Name of the generator.
    seed
        Seed for drawing the images.
    enroll_indices, test_indices
        Indices of the images to enroll and of the test images, counted among the images of the
        generator in the order of ``samples`` (:func:`list_draws`): int64 arrays (n,) and (m,).
    """

    generator: str
    seed: int
    enroll_indices: np.ndarray
    test_indices: np.ndarray


def list_draws(
    samples: Sequence[Sample], image_counts: Sequence[int], seeds: Sequence[int]
) -> list[EnrollmentDraw]:
    """Draw images of each generator for each number of images and each seed.

    A draw (:func:`draw_images`) is omitted if the generator has too few images for it, or if fewer
    than :data:`MIN_TEST_IMAGES` test images remain.

    Parameters
    ----------
    samples
        Images of the unknown generators.
    image_counts
        Numbers of images to enroll; numbers below 1 are ignored.
    seeds
        Seeds for drawing the images.

    Returns
    -------
    list of EnrollmentDraw
        The draws, sorted by generator, then by number of images, then in the order of ``seeds``.

    Raises
    ------
    DataError
        No number in ``image_counts`` is at least 1, or no generator has enough images for any of
        them.
    """
    if not (valid_counts := sorted({n for n in image_counts if n >= 1})):
        raise DataError(
            f"the numbers of images to enroll are {list(image_counts)}, but at least one must be 1 "
            f"or more. Correct {name_option('--shots', '`image_counts`')}."
        )
    images: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        images[sample.origin].append(sample)
    draws = [
        EnrollmentDraw(generator, seed, to_enroll, to_test)
        for generator in sorted(images)
        for n in valid_counts
        for seed in seeds
        for to_enroll, to_test in [draw_images(images[generator], n, seed)]
        if len(to_enroll) == n and len(to_test) >= MIN_TEST_IMAGES
    ]
    if not draws:
        raise DataError(
            f"no unknown generator has enough images to enroll {valid_counts[0]} and test on "
            f"{MIN_TEST_IMAGES} (from different sources, if the images have sources). Add images, "
            f"enroll fewer images ({name_option('--shots', '`image_counts`')}), or hold out other "
            f"generators with {name_option('--unknown')}."
        )
    return draws


def _pool_unknown_images(features: SplitFeatures) -> FeatureTable:
    return features.tables["val_unknown"] + features.tables["test_unknown"]


def measure_few_shot(
    model: OriginModel,
    features: SplitFeatures,
    *,
    image_counts: Sequence[int] = FEW_SHOT_SIZES,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Progress = no_progress,
) -> Iterator[FewShotPoint]:
    """Enroll each unknown generator separately, and evaluate the extended model.

    This is repeated for each number of images and each seed, unless the generator has too few
    images (:func:`list_draws`).

    Parameters
    ----------
    model
        The model to extend, which has held-out exemplars.
    features
        Features of the splits ``test``, ``val_unknown`` and ``test_unknown``. The images of the two
        unknown splits are pooled.
    image_counts
        Numbers of images used to enroll a generator.
    seeds
        Seeds for drawing the images.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Yields
    ------
    FewShotPoint
        Metrics of each enrollment, in the order of :func:`list_draws`.

    Raises
    ------
    DataError
        There are no draws (:func:`list_draws`), or an image of the split ``test`` is not of a known
        origin of the model.
    DataError, FitError
        See :func:`~whichgen.inference.enroll.enroll`.
    StoreError
        The features can't be read.
    """
    table, known = _pool_unknown_images(features), features.tables["test"]
    unknown, known_test = table.read_blocks(model.blocks), known.read_blocks(model.blocks)
    labels = encode_labels(known.origins, model.origins)
    draws = list_draws(table.samples, image_counts, seeds)
    accuracy_before = float((model.head.forward(known_test).logits.argmax(axis=1) == labels).mean())
    for draw in progress(draws, description="Enrolling", total=len(draws)):
        is_new = table.origins == draw.generator
        new_features, other_features = unknown[is_new], unknown[~is_new]
        extended_model = enroll(
            model, draw.generator, new_features[draw.enroll_indices], cross_validate=False
        ).model
        probabilities, scores = extended_model.predict(new_features[draw.test_indices])
        is_recognized = probabilities.argmax(axis=1) == len(model.origins)
        known_probabilities, known_scores = extended_model.predict(known_test)
        auroc_value = None
        if len(other_features):
            auroc_value = compute_auroc(
                np.concatenate([known_scores, scores]), extended_model.predict(other_features)[1]
            )
        yield FewShotPoint(
            generator=draw.generator,
            images=len(draw.enroll_indices),
            seed=draw.seed,
            test_images=len(draw.test_indices),
            accuracy_before=accuracy_before,
            accuracy_after=float((known_probabilities.argmax(axis=1) == labels).mean()),
            recall=float(is_recognized.mean()),
            accepted=float((is_recognized & (scores >= extended_model.threshold)).mean()),
            auroc=auroc_value,
        )
