"""What the API answers, as JSON."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """Why a request has no answer."""

    detail: str


class VerdictOut(BaseModel):
    """The answer in words."""

    kind: str = Field(description="generator, real, synthetic, unknown or unread")
    words: str
    detail: str


class NeighborOut(BaseModel):
    """An image that the model knows and that is like the one asked about."""

    origin: str
    similarity: float = Field(description="cosine, -1 to 1")
    thumbnail: str | None = Field(description="where its small picture is, if there is one")


class FindingOut(BaseModel):
    """Something that the file itself says; it may be missing or forged."""

    kind: str
    title: str
    detail: str
    says: str = Field(description="synthetic, camera, edited or neutral")
    generator: str


class EvidenceOut(BaseModel):
    """What the file says of its maker, apart from what the model says of its pixels."""

    findings: list[FindingOut]
    notes: list[str]
    contradictions: list[str] = Field(description="where file and model disagree")


class ImageOut(BaseModel):
    """The answer about one image."""

    name: str
    sha256: str
    bytes: int
    format: str | None
    width: int | None
    height: int | None
    verdict: VerdictOut
    origin: str | None = Field(description="a known origin or unknown; null if unreadable")
    at_least: str | None = Field(description="the deepest certain answer")
    probabilities: dict[str, float] = Field(description="of known origins; they sum to 1")
    score: float | None = Field(description="the open-set score; high is known")
    threshold: float = Field(description="below it the answer is unknown")
    nearest: list[NeighborOut]
    evidence: EvidenceOut | None
    error: str = Field(description="why there is no answer; empty if there is one")


class AttributedOut(BaseModel):
    """Answers, in the order of the images."""

    model: str = Field(description="digest of the model that answered")
    images: list[ImageOut]


class HeatmapOut(BaseModel):
    """Which patches the answer rests on."""

    origin: str
    support: list[list[float]] = Field(
        description="nats that each patch adds to the log-odds of the origin, from the top left"
    )


class ScaleOut(BaseModel):
    """Where open-set scores lie: a gauge's ends, and the middle nine tenths of known images."""

    low: float
    high: float
    known_low: float
    known_high: float


class ModelOut(BaseModel):
    """The model that answers."""

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
    scale: ScaleOut
    metrics: dict[str, Any] = Field(description="test figures, 0 to 1; none of an enrolled model")
    exemplars: int
    enrolling: bool
    limits: dict[str, int]


class HealthOut(BaseModel):
    """That the service answers, and how many images wait."""

    status: str
    whichgen: str
    waiting: int


class EnrolledOut(BaseModel):
    """The new origin, and what it cost the old ones."""

    origin: str
    images: int
    old_accuracy: list[float] = Field(description="of held-out exemplars, before and after")
    recognized: float | None = Field(
        description="share of the new images that models enrolled from the others recognize"
    )
    answered: dict[str, int] = Field(description="what the old model answered for them")
    folder: str
