"""A new origin for a fitted model, from a few images of it, without those it was fitted on.

The head is extended by one origin (:mod:`whichgen.heads.extension`); the model's exemplars stand in
for the training images of the old ones. Then the bias of the new origin is lowered until no correct
held-out exemplar is assigned to it, and by :data:`MARGIN` more, because other images of old origins
will lie slightly nearer. Score, temperature, threshold and calibration are those of the new head on
the held-out exemplars of the old origins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from whichgen.constants import UNKNOWN
from whichgen.data.families import assign_families
from whichgen.data.reading import decode_image, hash_image, make_thumbnail
from whichgen.errors import DataError, FitError
from whichgen.evaluation.calibration import fit_temperature
from whichgen.heads.base import Head
from whichgen.heads.extension import extend, lower_last_bias
from whichgen.inference.attributor import Attributor
from whichgen.io.run_metadata import get_timestamp
from whichgen.models.origin_model import Calibration, Exemplars, OriginModel
from whichgen.openset.hierarchy import fit_hierarchy
from whichgen.openset.prediction import predict
from whichgen.openset.registry import score_method
from whichgen.openset.threshold import decide, threshold_at_tpr
from whichgen.progress import Progress, no_progress
from whichgen.version import __version__

#: So many nats is the bias lowered beyond what the held-out exemplars ask for. Without it, old
#: accuracy fell by up to 2.9 points on test images of ../shared/images; with it, by up to 0.8.
MARGIN = 0.5

# The bias is lowered in such steps, to such an end.
_STEP = 0.25
_LOWEST = 40.0

#: Parts into which new images are dealt to tell how well others of their origin are recognized.
_FOLDS = 5


@dataclass(frozen=True)
class EnrollmentResult:
    """The result of :func:`enroll`.

    Parameters
    ----------
    model
        The model that knows one origin more.
    images
        How many images of it were given.
    old_accuracy
        Closed-set accuracy of held-out exemplars of old origins, before and after.
    threshold
        The threshold before and after.
    answered
        What the old model answered for the new images, most frequent first.
    recognized
        Share of new images that a head fitted on the others takes for the new origin; ``None`` of
        a single image, or if it was not asked for.
    """

    model: OriginModel
    images: int
    old_accuracy: tuple[float, float]
    threshold: tuple[float, float]
    answered: dict[str, int]
    recognized: float | None


def enroll(
    model: OriginModel,
    name: str,
    features: np.ndarray,
    *,
    source: Sequence[str] = (),
    thumbnails: Sequence[bytes] = (),
    cross_check: bool = True,
    seed: int = 0,
) -> EnrollmentResult:
    """The model with one origin more.

    Parameters
    ----------
    name
        The new origin.
    features
        What the head reads of its images: float array (n, d), n ≥ 1.
    source
        Digests of the images, for the record.
    thumbnails
        A small JPEG of each image, to show; none: ``()``.
    cross_check
        Tell how many images are recognized by heads fitted on the others; five more fits.

    Raises
    ------
    FitError
        The name is taken or empty, there is no image, or the model keeps no exemplars.
    """
    kept = model.exemplars
    _check(model, name, features)
    assert kept is not None
    n_origins = len(model.origins)
    train, train_labels = kept.select(held_out=False)
    held_out, labels = kept.select(held_out=True)

    def extended(new: np.ndarray) -> Head:
        return _extended(model.head, (train, train_labels), (held_out, labels), new, n_origins)

    head = extended(features)
    everything = np.concatenate([train, features])
    all_labels = np.concatenate([train_labels, np.full(len(features), n_origins)])
    score = score_method(model.score_method).fit(
        head.forward(everything), all_labels, n_origins + 1
    )
    output = head.forward(held_out)
    scale = fit_temperature(output.logits, labels) if model.temperature != 1 else 1.0
    probabilities, scores = predict(output, score, scale)
    threshold = threshold_at_tpr(scores, model.tpr)
    record: dict[str, Any] = {
        "origin": name,
        "images": len(features),
        "digests": list(source),
        "whichgen": __version__,
        "time": get_timestamp(),
    }
    new = replace(
        model,
        origins=(*model.origins, name),
        head=head,
        score=score,
        temperature=scale,
        threshold=threshold,
        calibration=Calibration(probabilities, labels, scores),
        exemplars=Exemplars(
            np.concatenate([kept.features, features.astype(kept.features.dtype)]),
            np.concatenate([kept.labels, np.full(len(features), n_origins)]),
            np.concatenate([kept.held_out, np.zeros(len(features), dtype=bool)]),
            _thumbnails(kept, thumbnails, len(features)),
        ),
        # The old model was tested, this one was not.
        metrics={},
        run_metadata={
            **model.run_metadata,
            "enrolled": [*model.run_metadata.get("enrolled", ()), record],
        },
    )
    if model.hierarchy:
        families = {**model.hierarchy.families, **assign_families([name])}
        hierarchy = fit_hierarchy(output, labels, new.origins, families, model.tpr)
        new = replace(new, hierarchy=hierarchy)
    before = model.head.forward(held_out).logits.argmax(axis=1) == labels
    after = output.logits.argmax(axis=1) == labels
    return EnrollmentResult(
        model=new,
        images=len(features),
        old_accuracy=(float(before.mean()), float(after.mean())),
        threshold=(model.threshold, threshold),
        answered=_answered(model, features),
        recognized=_recognized(extended, features, n_origins, seed) if cross_check else None,
    )


def enroll_images(
    attributor: Attributor,
    name: str,
    images: Mapping[str, bytes],
    *,
    batch_size: int = 32,
    progress: Progress = no_progress,
) -> EnrollmentResult:
    """:func:`enroll` of image files, given by name with their content; doubled ones count once.

    Raises
    ------
    DataError
        An image can't be read; nothing is enrolled.
    FitError
        As :func:`enroll`.
    """
    distinct = {hash_image(data): (file, data) for file, data in reversed(list(images.items()))}
    contents = [data for _, data in distinct.values()]
    features, errors = attributor.encode(contents, batch_size=batch_size, progress=progress)
    named = zip((file for file, _ in distinct.values()), errors, strict=True)
    unread = [f"{file}: {error.split(': ', 1)[-1]}" for file, error in named if error]
    if unread:
        raise DataError(
            f"{len(unread)} of {len(errors)} images can't be read, the first: {unread[0]}. Leave "
            "them out; nothing was enrolled."
        )
    kept = attributor.model.exemplars
    return enroll(
        attributor.model,
        name,
        features,
        source=[digest.hex() for digest in distinct],
        thumbnails=[make_thumbnail(decode_image(c)) for c in contents]
        if kept and kept.thumbnails
        else (),
    )


def _check(model: OriginModel, name: str, features: np.ndarray) -> None:
    if not name.strip() or name == UNKNOWN:
        raise FitError(f"{name!r} is no name for an origin. Give the generator's name.")
    if name in model.origins:
        raise FitError(
            f"the model knows {name} already. Choose another name, or fit anew with more images."
        )
    if not len(features):
        raise FitError(f"no image of {name}: at least one is needed.")
    if model.exemplars is None:
        raise FitError(
            "the model keeps no exemplars of its origins, so nothing can be enrolled. Fit it anew."
        )


def _extended(
    head: Head,
    train: tuple[np.ndarray, np.ndarray],
    held_out: tuple[np.ndarray, np.ndarray],
    new: np.ndarray,
    n_origins: int,
) -> Head:
    """The head with the new origin, whose bias costs no held-out exemplar its right answer."""
    features = np.concatenate([train[0], new])
    labels = np.concatenate([train[1], np.full(len(new), n_origins)])
    wider = extend(head, features, labels, n_origins)
    right = head.forward(held_out[0]).logits.argmax(axis=1) == held_out[1]
    guarded, truth = held_out[0][right], held_out[1][right]
    for offset in np.arange(0, _LOWEST, _STEP):
        found = lower_last_bias(wider, float(offset))
        if found is wider or (found.forward(guarded).logits.argmax(axis=1) == truth).all():
            break
    return lower_last_bias(found, MARGIN)


def _thumbnails(kept: Exemplars, new: Sequence[bytes], n: int) -> tuple[bytes, ...]:
    """Old and new thumbnails, empty ones where there are none; ``()`` if there is none at all."""
    if not kept.thumbnails and not new:
        return ()
    return (*(kept.thumbnails or [b""] * len(kept.labels)), *(new or [b""] * n))


def _answered(model: OriginModel, features: np.ndarray) -> dict[str, int]:
    decided = decide(*model.predict(features), model.threshold)
    counts = Counter(UNKNOWN if i < 0 else model.origins[i] for i in decided.tolist())
    return dict(counts.most_common())


def _recognized(extended: Any, features: np.ndarray, n_origins: int, seed: int) -> float | None:
    if len(features) < 2:
        return None
    fold_of = np.random.default_rng(seed).permutation(len(features)) % min(_FOLDS, len(features))
    right = np.zeros(len(features), dtype=bool)
    for fold in range(int(fold_of.max()) + 1):
        out = fold_of == fold
        logits = extended(features[~out]).forward(features[out]).logits
        right[out] = logits.argmax(axis=1) == n_origins
    return float(right.mean())
