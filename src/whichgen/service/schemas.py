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
    """Exemplar (image stored in the model) that is similar to the uploaded image."""

    origin: str
    similarity: float = Field(description="cosine similarity, -1 to 1")
    thumbnail: str | None = Field(description="path of the thumbnail; null without a thumbnail")


class ImageAnswer(BaseModel):
    """Answer for one uploaded image."""

    name: str
    sha256: str
    bytes: int
    format: str | None = None
    width: int | None = None
    height: int | None = None
    verdict: Verdict
    evidence: str | None = Field(
        description="provenance evidence in one sentence; null if it was not collected"
    )
    evidence_origin: str | None = Field(description="origin that the evidence states; may be empty")
    evidence_strength: str | None = Field(
        description="strong, weak or empty; null if evidence was not collected"
    )
    evidence_agrees: bool | None = Field(description="whether the model agrees; null if unclear")
    origin: str | None = Field(
        description="known origin or unknown; null if the image is unreadable"
    )
    coarse_origin: str | None = Field(
        description="most specific certain answer: origin, family, synthetic, real or unknown"
    )
    probabilities: dict[str, float] = Field(
        description="probability of each known origin; the probabilities sum to 1"
    )
    score: float | None = Field(description="open-set score; high for images of known origins")
    score_percentile: float | None = Field(
        description="percentage of known validation images with an equal or lower score"
    )
    threshold: float = Field(description="images with a lower score are classified as unknown")
    stability: int | None = Field(
        description="number of the five altered copies with the same answer; null if not checked"
    )
    differing_copies: list[str] | None = Field(
        description="names of the copies with a different answer"
    )
    original_answer: str | None = Field(description="answer before the stability check")
    notes: list[str] = Field(description="warnings about an unusual or damaged image")
    comparison: str = Field(description="description of the score percentile in one sentence")
    nearest: list[SimilarImage]
    provenance: Evidence | None = Field(description="all findings of provenance evidence")
    error: str = Field(description="error message if there is no answer; otherwise empty")


class AttributeResponse(BaseModel):
    """Answers in the order of the uploaded images."""

    model: str = Field(description="digest of the model")
    images: list[ImageAnswer]


class HeatMap(BaseModel):
    """Occlusion heat map of one image."""

    origin: str = Field(description="most probable known origin, which the map explains")
    support: list[list[float]] = Field(
        description="support of each patch for the origin: log-odds in nats, by row from the top"
    )


class ModelDescription(BaseModel):
    """Description of the model and the limits of the service."""

    whichgen: str
    digest: str
    origins: list[str]
    families: dict[str, str]
    encoder: str
    blocks: list[int]
    head: str
    score: str
    threshold: float
    tpr: float = Field(description="fraction of known validation images that the threshold accepts")
    metrics: dict[str, Any] = Field(description="test metrics, 0 to 1; empty after enrollment")
    exemplars: int
    columns: list[str] = Field(description="column names of a results table")
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
        description="accuracy on held-out images of the other origins, before and after enrollment"
    )
    recognized: float | None = Field(
        description="fraction of the enrolled images recognized in cross-validation"
    )
    answered: dict[str, int] = Field(
        description="number of enrolled images per answer of the model before enrollment"
    )
    folder: str
