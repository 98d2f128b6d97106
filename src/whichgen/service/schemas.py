"""Responses of the HTTP API (JSON)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from whichgen.evidence.finding import Evidence
from whichgen.inference.verdict import Verdict


class Problem(BaseModel):
    """Why a request failed."""

    detail: str


class SimilarImage(BaseModel):
    """An exemplar of the model that is similar to the image."""

    origin: str
    similarity: float = Field(description="cosine similarity, -1 to 1")
    thumbnail: str | None = Field(description="path of its thumbnail; null if there is none")


@dataclass(frozen=True)
class EvidenceReport(Evidence):
    """Provenance evidence in the file; ``contradictions`` say where file and model disagree."""

    contradictions: tuple[str, ...] = ()


class ImageAnswer(BaseModel):
    """The answer for one image."""

    name: str
    sha256: str
    bytes: int
    format: str | None = None
    width: int | None = None
    height: int | None = None
    verdict: Verdict
    origin: str | None = Field(description="a known origin or unknown; null if unreadable")
    coarse_origin: str | None = Field(description="the most specific answer that is certain")
    probabilities: dict[str, float] = Field(description="of the known origins; they sum to 1")
    score: float | None = Field(description="open-set score; high means known")
    score_percentile: float | None = Field(
        description="percentage of held-out known images whose score is no higher"
    )
    threshold: float = Field(description="the answer is unknown if the score is below it")
    comparison: str = Field(description="how the score compares with held-out known images")
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
    metrics: dict[str, Any] = Field(description="test figures, 0 to 1; empty after enrollment")
    exemplars: int
    columns: list[str] = Field(description="columns of a table of answers")
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
