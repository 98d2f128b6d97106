"""Schemas of the JSON responses of the HTTP API."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from whichgen.evidence.finding import Evidence
from whichgen.inference.verdict import Verdict


class Problem(BaseModel):
    """Error response; ``detail`` is the error message."""

    detail: str


class SimilarImage(BaseModel):
    """Exemplar (image with features stored in the model) that is similar to an uploaded image."""

    origin: str
    similarity: float = Field(description="cosine similarity, -1 to 1")
    thumbnail: str | None = Field(
        description="path of the thumbnail, such as exemplars/3; null without a thumbnail"
    )


class ImageAnswer(BaseModel):
    """Answer for one image."""

    name: str
    sha256: str
    bytes: int
    format: str | None = Field(None, description="format; null if the file was rejected")
    width: int | None = Field(None, description="width in pixels before EXIF rotation, or null")
    height: int | None = Field(None, description="height in pixels before EXIF rotation, or null")
    verdict: Verdict
    evidence: str | None = Field(
        description="provenance evidence in one sentence; empty if there is none, null if it was "
        "not collected or nothing can be read from the file"
    )
    evidence_origin: str | None = Field(
        description="origin that the evidence states, or empty; null if evidence is null"
    )
    evidence_strength: str | None = Field(
        description="strong, weak or, without evidence, empty; null if evidence is null"
    )
    evidence_agrees: bool | None = Field(
        description="whether the model agrees with the evidence; null if they can't be compared"
    )
    origin: str | None = Field(
        description="known origin or unknown; null if there is no answer (see error)"
    )
    coarse_origin: str | None = Field(
        description="most specific certain answer: known origin, family, synthetic, real or "
        "unknown; null if there is no answer"
    )
    probabilities: dict[str, float] = Field(
        description="probability of each known origin, sum 1; empty if there is no answer"
    )
    score: float | None = Field(
        description="open-set score, high for images of known origins; null if there is no answer"
    )
    score_percentile: float | None = Field(
        description="percentage of validation images of known origins with an equal or lower "
        "score; null if there is no answer"
    )
    threshold: float = Field(description="images with a lower score are classified as unknown")
    stability: int | None = Field(
        description="number of the five altered copies with the same answer; null if not checked"
    )
    differing_copies: list[str] | None = Field(
        description="names of the copies with a different answer; null if not checked"
    )
    original_answer: str | None = Field(
        description="coarse_origin before the stability check; null if not checked"
    )
    notes: list[str] = Field(description="warnings about an unusual or damaged image")
    comparison: str = Field(
        description="description of the score percentile in one sentence; empty if it is null"
    )
    nearest: list[SimilarImage] = Field(description="most similar exemplars, most similar first")
    provenance: Evidence | None = Field(
        description="all findings of provenance evidence; null if evidence is null"
    )
    error: str = Field(description="error message if there is no answer; otherwise empty")


class AttributeResponse(BaseModel):
    """Answers in the order of the uploaded images."""

    model: str = Field(description="digest of the model")
    images: list[ImageAnswer]


class HeatMap(BaseModel):
    """Occlusion heat map of one image."""

    origin: str = Field(description="most probable known origin, which the map explains")
    support: list[list[float]] = Field(
        description="decrease of the log-odds of the origin, in nats, if a patch is blurred; one "
        "list per row of patches, from the top"
    )


class ModelDescription(BaseModel):
    """Description of the model and the settings of the service."""

    whichgen: str = Field(description="version of whichgen")
    digest: str
    origins: list[str]
    families: dict[str, str] = Field(description="family of each known generator")
    encoder: str
    blocks: list[int]
    head: str
    score: str
    threshold: float
    tpr: float = Field(
        description="minimum fraction of held-out known images that the threshold accepts"
    )
    metrics: dict[str, Any] = Field(
        description="test metrics, 0 to 1 or null; empty after enrollment"
    )
    exemplars: int = Field(description="number of exemplars")
    columns: list[str] = Field(description="column names of a table of answers")
    enrolling: bool = Field(description="whether POST /enroll is enabled")
    limits: dict[str, int | float]


class Health(BaseModel):
    """Status, version and queue size of the service."""

    status: str
    whichgen: str
    waiting: int = Field(description="number of images in the queue")


class EnrollResponse(BaseModel):
    """Result of an enrollment."""

    origin: str
    images: int
    old_accuracy: list[float] = Field(
        description="accuracy on validation images of the old origins, before and after enrollment"
    )
    recognized: float | None = Field(
        description="fraction of the enrolled images that are recognized in cross-validation; null "
        "for a single image"
    )
    answered: dict[str, int] = Field(
        description="number of enrolled images per answer of the model before enrollment"
    )
    folder: str = Field(description="folder on the server that contains the new model")
