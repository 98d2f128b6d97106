"""Add a new origin to a fitted model from a few images, without the original training images.

The head is extended by one origin (:mod:`whichgen.heads.extension`). The model's exemplars (stored
features of images) are used instead of the original images. *Held-out exemplars* are exemplars of
validation images; *training exemplars* are exemplars of training images and of images enrolled
earlier. The bias of the new origin is then lowered, by less than 40 nats, until the new head
correctly classifies every held-out exemplar that the old head classified correctly. It is lowered
by an additional :data:`MARGIN`, because unseen images of the old origins can have higher logits for
the new origin. A k-NN head has no bias.

The open-set score is refitted on the training exemplars and the new images. The temperature (unless
it is 1), the open-set threshold, the calibration data and the thresholds of the coarser predictions
are recomputed on the held-out exemplars. If the training images had sources, all thresholds are
kept, because they were chosen on held-out sources, whereas the exemplars come from sources that the
head was fitted on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from whichgen.constants import UNKNOWN
from whichgen.data.images.decoding import decode_image, hash_image, make_thumbnail
from whichgen.data.origins.families import assign_families
from whichgen.data.origins.origin_names import fold_name, validate_origin_names
from whichgen.defaults import BATCH_SIZE
from whichgen.errors import DataError, FitError
from whichgen.evaluation.calibration import fit_temperature
from whichgen.heads.extension import extend, lower_last_bias
from whichgen.heads.head import Head
from whichgen.inference.attributor import Attributor
from whichgen.io.run_metadata import get_timestamp
from whichgen.models.origin_model import Calibration, Exemplars, OriginModel
from whichgen.openset.hierarchy import fit_hierarchy
from whichgen.openset.predict import predict
from whichgen.openset.score_registry import fit_score
from whichgen.openset.threshold import choose_threshold_at_tpr, decide
from whichgen.phrases import format_count
from whichgen.progress import Progress, no_progress
from whichgen.version import __version__

#: Additional decrease of the new origin's bias, in nats. On 794 test images of eight text-to-image
#: systems and photographs, the accuracy for the old origins fell by up to 2.9 percentage points
#: without this margin, and by up to 0.8 percentage points with it.
MARGIN = 0.5

#: Step and limit (exclusive) of the search for the decrease of the bias, in nats.
_STEP = 0.25
_MAX_OFFSET = 40.0

#: Maximum number of folds of the cross-validation on the new images.
_FOLDS = 5


@dataclass(frozen=True)
class EnrollmentResult:
    """The result of :func:`enroll`.

    Parameters
    ----------
    model
        The model with the new origin.
    n_images
        Number of images of the new origin.
    accuracy_before_after
        Pair (before, after): the closed-set accuracy on the held-out exemplars before and after
        enrollment, in [0, 1].
    previous_answers
        ``previous_answers[origin]`` is the number of new images that the old model classified as
        ``origin`` (a known origin or ``unknown``), most frequent first.
    recognition_rate
        Cross-validated fraction of the new images for which the new origin has the highest logit,
        in [0, 1]; ``None`` for a single image or without cross-validation.
    """

    model: OriginModel
    n_images: int
    accuracy_before_after: tuple[float, float]
    previous_answers: dict[str, int]
    recognition_rate: float | None


def enroll(
    model: OriginModel,
    name: str,
    features: np.ndarray,
    *,
    digests: Sequence[str] = (),
    thumbnails: Sequence[bytes] = (),
    cross_validate: bool = True,
) -> EnrollmentResult:
    """Add an origin to a model, given the features of its images.

    ``model`` is not changed. The new model has no test metrics because it has not been tested.

    Parameters
    ----------
    model
        The model to extend, which has held-out exemplars.
    name
        Name of the new origin.
    features
        The head's input for each image of the new origin: float array (n, d), n ≥ 1.
    digests
        Hex digest of each image, recorded in the new model's metadata; empty to record none.
    thumbnails
        JPEG thumbnail of each image, stored with its exemplar; empty for none. Ignored if the model
        has no thumbnails.
    cross_validate
        Estimate the recognition rate by cross-validation with at most five folds.

    Returns
    -------
    EnrollmentResult
        The new model, and its comparison with the old model.

    Raises
    ------
    DataError
        The name is invalid or already an origin of the model (:func:`check_new_name`), or
        SOURCE_DATE_EPOCH is not a valid time.
    FitError
        There are no images, a feature is not finite, the head can't be extended
        (:func:`whichgen.heads.extension.extend`), or the score, the temperature or a threshold
        can't be fitted on the exemplars.
    ValueError
        The number of features differs from that of the exemplars.
    """
    check_new_name(model, name)
    if not len(features):
        raise FitError(f"no images of {name}. Add at least one image.")
    origins = (*model.origins, name)
    head = _extend_head(model, features)
    train_features, train_labels = _combine_training_data(model, features)
    output = head.forward(train_features)
    score = fit_score(model.score_method, output, train_labels, len(origins))
    old_features, labels = model.exemplars.select(held_out=True)
    output = head.forward(old_features)
    temperature = fit_temperature(output.logits, labels) if model.temperature != 1 else 1.0
    probabilities, scores = predict(output, score, temperature)
    named_families = {o: family for o, family in model.hierarchy.families.items() if family != o}
    families = assign_families(origins, named_families)
    if model.run_metadata.get("training_sources"):
        threshold, hierarchy = model.threshold, replace(model.hierarchy, families=families)
    else:
        threshold = choose_threshold_at_tpr(scores, model.tpr)
        hierarchy = fit_hierarchy(output, labels, origins, families, model.tpr)
    record = {
        "origin": name,
        "images": len(features),
        "digests": list(digests),
        "whichgen": __version__,
        "time": get_timestamp(),
    }
    records = [*model.run_metadata.get("enrolled", ()), record]
    extended_model = replace(
        model,
        origins=origins,
        head=head,
        score=score,
        temperature=temperature,
        threshold=threshold,
        calibration=Calibration(probabilities, labels, scores),
        exemplars=_add_exemplars(model, features, thumbnails),
        hierarchy=hierarchy,
        metrics={},  # the extended model has not been tested
        run_metadata={**model.run_metadata, "enrolled": records},
    )
    decisions = decide(*model.predict(features), model.threshold).tolist()
    answers = Counter(UNKNOWN if i < 0 else model.origins[i] for i in decisions)
    before, after = (_is_correct(h, old_features, labels).mean() for h in (model.head, head))
    cross_validate = cross_validate and len(features) > 1
    return EnrollmentResult(
        model=extended_model,
        n_images=len(features),
        accuracy_before_after=(float(before), float(after)),
        previous_answers=dict(answers.most_common()),
        recognition_rate=_estimate_recognition_rate(model, features) if cross_validate else None,
    )


def check_new_name(model: OriginModel, name: str) -> None:
    """Check that a name can be the name of a new origin of a model.

    Raises
    ------
    DataError
        The name is invalid (:mod:`whichgen.data.origins.origin_names`), or already an origin of the
        model, possibly with different case or Unicode form.
    """
    if name in model.origins:
        raise DataError(
            f"{name} is already an origin of the model. Choose another name, or add the images to "
            "the training images and fit a new model."
        )
    # Do not check the other names: older versions accepted names that are now invalid.
    similar_names = [origin for origin in model.origins if fold_name(origin) == fold_name(name)]
    validate_origin_names([name])
    validate_origin_names([*similar_names, name])


def enroll_images(
    attributor: Attributor,
    name: str,
    images: Mapping[str, bytes],
    *,
    batch_size: int = BATCH_SIZE,
    progress: Progress = no_progress,
) -> EnrollmentResult:
    """Encode image files of a new origin, and add the origin to a model (:func:`enroll`).

    Parameters
    ----------
    attributor
        The model to extend, with its encoder.
    name
        Name of the new origin.
    images
        Maps the name of each image file to the bytes of the file. Files with the same content are
        used only once.
    batch_size
        Maximum number of images per batch.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Returns
    -------
    EnrollmentResult
        See :func:`enroll`.

    Raises
    ------
    DataError
        The name is invalid (:func:`check_new_name`), an image can't be read, or SOURCE_DATE_EPOCH
        is not a valid time.
    EncoderError, RuntimeError
        See :meth:`whichgen.inference.attributor.Attributor.encode`.
    FitError
        See :func:`enroll`.

    Warns
    -----
    WhichgenWarning
        Memory is insufficient for a batch; the batch size is halved.

    Examples
    --------
    >>> images = {"a.png": Path("a.png").read_bytes()}  # doctest: +SKIP
    >>> result = enroll_images(attributor, "new-generator", images)  # doctest: +SKIP
    """
    check_new_name(attributor.model, name)
    distinct_images = {
        hash_image(data): (file, data) for file, data in reversed(list(images.items()))
    }
    files, contents = zip(*distinct_images.values(), strict=True) if distinct_images else ((), ())
    features, errors = attributor.encode(contents, batch_size=batch_size, progress=progress)
    unreadable_files = [(file, error) for file, error in zip(files, errors, strict=True) if error]
    if unreadable_files:
        file, error = unreadable_files[0]
        raise DataError(
            f"{len(unreadable_files)} of {format_count(len(errors), 'image')} can't be read, e.g. "
            f"{file}: {error.split(': ', 1)[-1]}. The model is "
            "unchanged; remove these images and try again."
        )
    has_thumbnails = attributor.model.exemplars.thumbnails
    return enroll(
        attributor.model,
        name,
        features,
        digests=[digest.hex() for digest in distinct_images],
        thumbnails=[make_thumbnail(decode_image(c)) for c in contents] if has_thumbnails else (),
    )


def _combine_training_data(
    model: OriginModel, new_features: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Concatenate the features and labels of the training exemplars and of the new images.

    Returns
    -------
    features, labels
        Float array (n, d) and int64 array (n,); the label of the new images is the number of old
        origins.
    """
    features, labels = model.exemplars.select(held_out=False)
    new_labels = np.full(len(new_features), len(model.origins))
    return np.concatenate([features, new_features]), np.concatenate([labels, new_labels])


def _extend_head(model: OriginModel, new_features: np.ndarray) -> Head:
    """Add an origin to the head, and lower the bias of this origin to protect the old origins.

    The bias is lowered in steps, by less than :data:`_MAX_OFFSET`, until all held-out exemplars
    that the old head classified correctly are classified correctly again, and then by an additional
    :data:`MARGIN`. A k-NN head has no bias, so it is only extended.
    """
    extended_head = extend(
        model.head, *_combine_training_data(model, new_features), len(model.origins)
    )
    features, labels = model.exemplars.select(held_out=True)
    correct = _is_correct(model.head, features, labels)
    features, labels = features[correct], labels[correct]
    for offset in np.arange(0, _MAX_OFFSET, _STEP):
        candidate = lower_last_bias(extended_head, float(offset))
        # `lower_last_bias` returns a head without a bias unchanged.
        if candidate is extended_head or _is_correct(candidate, features, labels).all():
            break
    return lower_last_bias(candidate, MARGIN)


def _is_correct(head: Head, features: np.ndarray, labels: np.ndarray | int) -> np.ndarray:
    """Return whether the label of each image has the highest logit: bool array (n,)."""
    return np.asarray(head.forward(features).logits.argmax(axis=1) == labels)


def _add_exemplars(
    model: OriginModel, features: np.ndarray, thumbnails: Sequence[bytes]
) -> Exemplars:
    """Add the new images to the exemplars; images without a thumbnail get empty bytes."""
    exemplars, n = model.exemplars, len(features)
    return Exemplars(
        np.concatenate([exemplars.features, features.astype(exemplars.features.dtype)]),
        np.concatenate([exemplars.labels, np.full(n, len(model.origins))]),
        np.concatenate([exemplars.held_out, np.zeros(n, dtype=bool)]),
        (*exemplars.thumbnails, *(thumbnails or [b""] * n)) if exemplars.thumbnails else (),
    )


def _estimate_recognition_rate(model: OriginModel, features: np.ndarray) -> float:
    """Cross-validate the fraction of new images predicted as the new origin, in [0, 1]."""
    folds = np.random.default_rng(0).permutation(len(features)) % min(_FOLDS, len(features))
    correct = np.zeros(len(features), dtype=bool)
    for fold in range(int(folds.max()) + 1):
        test = folds == fold
        head = _extend_head(model, features[~test])
        correct[test] = _is_correct(head, features[test], len(model.origins))
    return float(correct.mean())
