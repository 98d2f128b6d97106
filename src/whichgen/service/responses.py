"""From the core's dataclasses to the API's JSON."""

from __future__ import annotations

import numpy as np

from whichgen.evidence.collect import contradictions
from whichgen.inference.attributor import Attribution
from whichgen.inference.nearest import Neighbor
from whichgen.inference.verdict import verdict
from whichgen.io.run_metadata import hash_parts
from whichgen.models.saved_model import OriginModel
from whichgen.service.schemas import (
    EvidenceOut,
    FindingOut,
    ImageOut,
    ModelOut,
    NeighborOut,
    ScaleOut,
    VerdictOut,
)
from whichgen.service.settings import Settings
from whichgen.service.uploads import Upload
from whichgen.version import __version__

#: How many nearest exemplars are told.
NEAREST = 6

#: Ends of the gauge: it shows scores as far below the threshold as known ones are above it.
_KNOWN = (0.05, 0.95)


def model_digest(model: OriginModel) -> str:
    """A digest of the data, the origins and the head that answer."""
    arrays = [array.tobytes() for _, array in sorted(model.head.tensors().items())]
    return hash_parts([model.data_hash, *model.origins, f"{model.threshold!r}", *arrays])


def describe(model: OriginModel, settings: Settings, digest: str) -> ModelOut:
    """What a client may know of the model."""
    return ModelOut(
        whichgen=__version__,
        digest=digest,
        origins=list(model.origins),
        families=dict(model.hierarchy.families) if model.hierarchy else {},
        encoder=str(model.encoder["name"]),
        blocks=list(model.blocks),
        head=model.head_method,
        score=model.score_name,
        threshold=model.threshold,
        tpr=model.tpr,
        scale=scale(model),
        metrics=dict(model.metrics),
        exemplars=0 if model.exemplars is None else len(model.exemplars.labels),
        enrolling=settings.enroll_to is not None,
        limits=dict(vars(settings.limits)),
    )


def scale(model: OriginModel) -> ScaleOut:
    """Where the scores of the model's held-out exemplars lie, and the ends of a gauge for them."""
    scores = np.array([model.threshold])
    if model.exemplars is not None:
        features, _ = model.exemplars.part(held_out=True)
        if len(features):
            scores = model.predict(features)[1]
    known_low, known_high = np.quantile(scores, _KNOWN).tolist()
    high = float(max(scores.max(), model.threshold))
    span = max(high - min(model.threshold, known_low), 1e-9)
    return ScaleOut(
        low=high - 2 * span, high=high, known_low=float(known_low), known_high=float(known_high)
    )


def answered(upload: Upload, answer: Attribution | None, model: OriginModel) -> ImageOut:
    """The answer about an upload; without one, why there is none."""
    error = upload.error
    if answer is not None and answer.error:
        error = f"{upload.name}: {answer.error.split(': ', 1)[-1]}"
    if answer is None or error:
        answer = Attribution(upload.name, None, {}, None, model.threshold, error=error)
    said = verdict(answer)
    return ImageOut(
        name=upload.name,
        sha256=upload.sha256,
        bytes=len(upload.data),
        format=upload.header.format if upload.header else None,
        width=upload.header.width if upload.header else None,
        height=upload.header.height if upload.header else None,
        verdict=VerdictOut(**vars(said)),
        origin=answer.origin,
        at_least=answer.at_least,
        probabilities=answer.probabilities,
        score=answer.score,
        threshold=answer.threshold,
        nearest=[_neighbor(n, model) for n in answer.nearest or ()],
        evidence=_evidence(upload, answer),
        error=error,
    )


def _evidence(upload: Upload, answer: Attribution) -> EvidenceOut | None:
    if upload.evidence is None:
        return None
    return EvidenceOut(
        findings=[FindingOut(**vars(finding)) for finding in upload.evidence.findings],
        notes=list(upload.evidence.notes),
        contradictions=list(contradictions(upload.evidence, answer.origin, answer.at_least)),
    )


def _neighbor(found: Neighbor, model: OriginModel) -> NeighborOut:
    pictures = model.exemplars.thumbnails if model.exemplars else ()
    # One of a gallery apart from the model has no number among the exemplars.
    shown = found.exemplar is not None and bool(pictures) and bool(pictures[found.exemplar])
    return NeighborOut(
        origin=found.origin,
        similarity=found.similarity,
        thumbnail=f"exemplars/{found.exemplar}" if shown else None,
    )
