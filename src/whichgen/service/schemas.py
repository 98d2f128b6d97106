"""Responses of the HTTP API (JSON)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """Why a request failed."""

    detail: str


class VerdictText(BaseModel):
    """An answer in words."""

    kind: str = Field(description="generator, real, synthetic, unknown or unread")
    words: str
    detail: str


class SimilarImage(BaseModel):
    """An exemplar of the model that is similar to the image."""

    origin: str
    similarity: float = Field(description="cosine similarity, -1 to 1")
    thumbnail: str | None = Field(description="path of its thumbnail; null if there is none")


class FindingReport(BaseModel):
    """One piece of provenance evidence in the file."""

    kind: str
    title: str
    detail: str
    indicates: str = Field(description="what it supports: synthetic, camera, edited or neutral")
    generator: str


class EvidenceReport(BaseModel):
    """Provenance evidence in the file, independent of the model."""

    findings: list[FindingReport]
    notes: list[str]
    contradictions: list[str] = Field(description="where file and model disagree")


class ImageAnswer(BaseModel):
    """The answer for one image."""

    name: str
    sha256: str
    bytes: int
    format: str | None
    width: int | None
    height: int | None
    verdict: VerdictText
    origin: str | None = Field(description="a known origin or unknown; null if unreadable")
    coarse_origin: str | None = Field(description="the most specific answer that is certain")
    probabilities: dict[str, float] = Field(description="of the known origins; they sum to 1")
    score: float | None = Field(description="open-set score; high means known")
    threshold: float = Field(description="the answer is unknown if the score is below it")
    nearest: list[SimilarImage]
    evidence: EvidenceReport | None
    error: str = Field(description="why there is no answer; empty if there is one")


class AttributeResponse(BaseModel):
    """Answers in the order of the images."""

    model: str = Field(description="digest of the model")
    images: list[ImageAnswer]


class HeatMap(BaseModel):
    """How much each patch supports the answer."""

    origin: str = Field(description="the origin that the map explains")
    support: list[list[float]] = Field(
        description="what each patch adds to its log-odds (nats), by row from the top left"
    )


class ScoreScale(BaseModel):
    """Ends of the score gauge, and the central 90 % of held-out known images."""

    low: float
    high: float
    known_low: float
    known_high: float


class ModelDescription(BaseModel):
    """The model of the service and its limits."""

    whichgen: str
    digest: str
    origins: list[str]
    families: dict[str, str]
    encoder: str
    blocks: list[int]
    head: str
    score: str
    threshold: float
    tpr: float = Field(description="share of known validation images that the threshold keeps")
    scale: ScoreScale
    metrics: dict[str, Any] = Field(description="test figures, 0 to 1; empty after enrollment")
    exemplars: int
    enrolling: bool = Field(description="whether POST /enroll is enabled")
    limits: dict[str, int]


class Health(BaseModel):
    """State of the service."""

    status: str
    whichgen: str
    waiting: int = Field(description="number of waiting images")


class EnrollResponse(BaseModel):
    """A new origin and its effect on the old ones."""

    origin: str
    images: int
    old_accuracy: list[float] = Field(description="on held-out exemplars, before and after")
    recognized: float | None = Field(
        description="share of the new images recognized by models enrolled from the others"
    )
    answered: dict[str, int] = Field(description="answers of the old model for the new images")
    folder: str
