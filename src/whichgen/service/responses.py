"""Convert models, uploads and attributions to API responses."""

from __future__ import annotations

import numpy as np

from whichgen.evidence.collect import find_contradictions
from whichgen.inference.answers import Attribution
from whichgen.inference.neighbors import Neighbor
from whichgen.inference.verdict import make_verdict
from whichgen.io.run_metadata import hash_parts
from whichgen.models.origin_model import OriginModel
from whichgen.service.schemas import (
    EvidenceReport,
    FindingReport,
    ImageAnswer,
    ModelDescription,
    ScoreScale,
    SimilarImage,
    VerdictText,
)
from whichgen.service.settings import Settings
from whichgen.service.uploads import Upload
from whichgen.version import __version__

#: Quantiles of held-out known scores that the gauge shades.
_KNOWN_QUANTILES = (0.05, 0.95)


def describe_model(model: OriginModel, settings: Settings) -> ModelDescription:
    """Describe the model and the limits to clients."""
    arrays = [array.tobytes() for _, array in sorted(model.head.tensors().items())]
    return ModelDescription(
        whichgen=__version__,
        digest=hash_parts([model.data_hash, *model.origins, f"{model.threshold!r}", *arrays]),
        origins=list(model.origins),
        families=dict(model.hierarchy.families),
        encoder=str(model.encoder["name"]),
        blocks=list(model.blocks),
        head=model.head_method,
        score=model.score_method,
        threshold=model.threshold,
        tpr=model.tpr,
        scale=score_scale(model),
        metrics=dict(model.metrics),
        exemplars=len(model.exemplars.labels),
        enrolling=settings.enroll_to is not None,
        limits=dict(vars(settings.limits)),
    )


def score_scale(model: OriginModel) -> ScoreScale:
    """Compute the ends of the score gauge from the scores of the validation images.

    The gauge extends as far below the lowest of threshold and 5 % quantile as the highest score is
    above it.
    """
    scores = model.calibration.scores
    known_low, known_high = np.quantile(scores, _KNOWN_QUANTILES).tolist()
    high = float(max(scores.max(), model.threshold))
    span = max(high - min(model.threshold, known_low), 1e-9)
    return ScoreScale(low=high - 2 * span, high=high, known_low=known_low, known_high=known_high)


def image_answer(upload: Upload, answer: Attribution | None, model: OriginModel) -> ImageAnswer:
    """Combine an upload with its answer; without one, state why there is none."""
    error = upload.error
    if answer is not None and answer.error:
        error = f"{upload.name}: {answer.error.split(': ', 1)[-1]}"
    if answer is None or error:
        answer = Attribution(upload.name, None, {}, None, model.threshold, error=error)
    return ImageAnswer(
        name=upload.name,
        sha256=upload.sha256,
        bytes=len(upload.data),
        format=upload.header.format if upload.header else None,
        width=upload.header.width if upload.header else None,
        height=upload.header.height if upload.header else None,
        verdict=VerdictText(**vars(make_verdict(answer))),
        origin=answer.origin,
        coarse_origin=answer.coarse_origin,
        probabilities=answer.probabilities,
        score=answer.score,
        threshold=answer.threshold,
        nearest=[_similar_image(neighbor, model) for neighbor in answer.nearest or ()],
        evidence=_evidence_report(upload, answer),
        error=error,
    )


def _evidence_report(upload: Upload, answer: Attribution) -> EvidenceReport | None:
    if upload.evidence is None:
        return None
    return EvidenceReport(
        findings=[FindingReport(**vars(finding)) for finding in upload.evidence.findings],
        notes=list(upload.evidence.notes),
        contradictions=list(
            find_contradictions(upload.evidence, answer.origin, answer.coarse_origin)
        ),
    )


def _similar_image(neighbor: Neighbor, model: OriginModel) -> SimilarImage:
    thumbnails = model.exemplars.thumbnails
    # Images of a separate gallery have no exemplar number.
    number = neighbor.exemplar
    has_thumbnail = number is not None and bool(thumbnails) and bool(thumbnails[number])
    return SimilarImage(
        origin=neighbor.origin,
        similarity=neighbor.similarity,
        thumbnail=f"exemplars/{number}" if has_thumbnail else None,
    )
