"""The few-shot curve: how well a generator is known that was enrolled from a few images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from whichgen.errors import DataError
from whichgen.evaluation.detection import auroc
from whichgen.evaluation.predictions import label_indices
from whichgen.inference.enroll import enroll
from whichgen.models.origin_model import OriginModel
from whichgen.progress import Progress, no_progress
from whichgen.training.split_features import SplitFeatures

#: Images of the new generator.
IMAGE_COUNTS = (1, 2, 5, 10, 20, 50)

#: So many images of the new generator must be left to test on.
MIN_TEST_IMAGES = 5


@dataclass(frozen=True)
class FewShotPoint:
    """One generator enrolled from ``images`` images drawn with ``seed``; shares in [0, 1].

    Parameters
    ----------
    accuracy_before, accuracy_after
        Closed-set accuracy of test images of the old origins.
    recall, accepted
        Share of the generator's other images whose most probable origin it is, and share answered
        so: their score is over the threshold, too.
    auroc
        Images of old origins and of the new one against the generators that are still unknown;
        ``None`` without any.
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
    parts: SplitFeatures,
    *,
    image_counts: Sequence[int] = IMAGE_COUNTS,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Progress = no_progress,
) -> Iterator[FewShotPoint]:
    """Enrols each unknown generator in turn, of validation and of test, and tests.

    Numbers of images that leave fewer than :data:`MIN_TEST_IMAGES` to test on are passed over.

    Raises
    ------
    DataError
        There is no unknown generator with enough images.
    """
    unknown = parts.tables["val_unknown"] + parts.tables["test_unknown"]
    features = unknown.blocks(model.blocks)
    known = parts.tables["test"]
    test = known.blocks(model.blocks), label_indices(known.origins, model.origins)
    runs = [
        (generator, n, seed)
        for generator in sorted(set(unknown.origins.tolist()))
        for n in sorted(set(image_counts))
        if 1 <= n <= (unknown.origins == generator).sum() - MIN_TEST_IMAGES
        for seed in seeds
    ]
    if not runs:
        raise DataError(
            f"no unknown generator has enough images to enroll {min(image_counts)} and test on "
            f"{MIN_TEST_IMAGES}. Hold generators out with --unknown when fitting."
        )
    before = float((model.head.forward(test[0]).logits.argmax(axis=1) == test[1]).mean())
    for generator, n, seed in progress(runs, description="Enrolling", total=len(runs)):
        own = features[unknown.origins == generator]
        order = np.random.default_rng((seed, len(own))).permutation(len(own))
        new = enroll(model, generator, own[order[:n]], cross_validate=False).model
        probabilities, scores = new.predict(own[order[n:]])
        hit = probabilities.argmax(axis=1) == len(model.origins)
        of_old, old_scores = new.predict(test[0])
        others = features[unknown.origins != generator]
        yield FewShotPoint(
            generator=generator,
            images=n,
            seed=seed,
            test_images=len(own) - n,
            accuracy_before=before,
            accuracy_after=float((of_old.argmax(axis=1) == test[1]).mean()),
            recall=float(hit.mean()),
            accepted=float((hit & (scores >= new.threshold)).mean()),
            auroc=auroc(np.concatenate([old_scores, scores]), new.predict(others)[1])
            if len(others)
            else None,
        )
