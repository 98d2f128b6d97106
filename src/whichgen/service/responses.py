"""Convert models, uploads and attributions to API responses."""

from __future__ import annotations

from dataclasses import replace

from whichgen.inference.answer_table import make_answer_schema
from whichgen.inference.attribution import Attribution
from whichgen.inference.similar_images import Neighbor
from whichgen.inference.verdict import make_verdict
from whichgen.io.run_metadata import hash_parts
from whichgen.models.origin_model import OriginModel
from whichgen.service.schemas import ImageAnswer, ModelDescription, SimilarImage
from whichgen.service.settings import Settings
from whichgen.service.uploaded_image import Upload
from whichgen.version import __version__


def describe_model(model: OriginModel, settings: Settings) -> ModelDescription:
    """Describe the model and the settings of the service that clients need."""
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
        metrics=dict(model.metrics),
        exemplars=len(model.exemplars.labels),
        columns=make_answer_schema(
            model.origins,
            stability=settings.stability,
            evidence=settings.evidence is not None,
        ).names,
        enrolling=settings.enroll_to is not None,
        limits=vars(settings.limits) | {"request_bytes": settings.limits.request_bytes},
    )


def build_image_answer(
    upload: Upload, answer: Attribution | None, model: OriginModel
) -> ImageAnswer:
    """Build the API answer for an upload.

    Parameters
    ----------
    upload
        The uploaded image. Its evidence, if it was collected, replaces that of ``answer``.
    answer
        The attribution by ``model``; ``None`` if the upload was rejected.
    model
        The model that attributed the image.
    """
    provenance = answer.provenance if answer else None
    if answer is not None and answer.error:
        answer = replace(answer, error=f"{upload.name}: {answer.error.split(': ', 1)[-1]}")
    elif answer is None or upload.error:
        answer = Attribution(upload.name, None, {}, None, model.threshold, error=upload.error)
    answer = replace(answer, provenance=upload.evidence or provenance)
    fields = {
        **vars(answer),
        **answer.describe_evidence(),
        **(vars(upload.header) if upload.header else {}),
        "name": upload.name,
        "sha256": upload.sha256,
        "bytes": len(upload.data),
        "verdict": make_verdict(answer),
        "comparison": _compare_score(answer, model.tpr),
        "nearest": [_build_similar_image(neighbor, model) for neighbor in answer.nearest or ()],
    }
    return ImageAnswer.model_validate(fields)


def _compare_score(answer: Attribution, tpr: float) -> str:
    """Describe the score percentile in one sentence; empty without a percentile."""
    if answer.score_percentile is None:
        return ""
    comparison = (
        f"at least as high as the scores of {answer.score_percentile:.0f} % of"
        if answer.score_percentile
        else "lower than the scores of all"
    )
    return (
        f"The score is {comparison} the validation images of known origins; images with less than "
        f"about {100 * (1 - tpr):.0f} % are classified as unknown."
    )


def _build_similar_image(neighbor: Neighbor, model: OriginModel) -> SimilarImage:
    number, thumbnails = neighbor.exemplar, model.exemplars.thumbnails
    # Gallery images are not exemplars and have no thumbnail.
    has_thumbnail = number is not None and thumbnails and thumbnails[number]
    thumbnail = f"exemplars/{number}" if has_thumbnail else None
    return SimilarImage(origin=neighbor.origin, similarity=neighbor.similarity, thumbnail=thumbnail)
