"""Settings of the HTTP service, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from whichgen.defaults import BATCH_SIZE
from whichgen.evidence.evidence_options import EvidenceOptions
from whichgen.service.limits import Limits

#: Host names and addresses of the local machine.
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Settings:
    """Settings of the service.

    Parameters
    ----------
    limits
        Limits on images, requests and the load of the service.
    api_key
        Key that clients must send in the ``X-API-Key`` header or as a bearer token, except for the
        web page and ``/health``. If it is empty, no key is required.
    enroll_to
        Folder in which an enrollment saves the new model as ``ORIGIN/model``; ``None`` disables
        enrollment.
    hosts
        Host names accepted in the ``Host`` header; ``*`` accepts all. Requests with other host
        names are rejected to prevent DNS rebinding.
    batch_size
        Maximum number of uploaded images per batch. It is also the maximum number of images per
        forward pass, including the altered copies for the stability check, but a forward pass
        contains at least one uploaded image and its copies.
    stability
        Whether to check the stability of answers (:mod:`whichgen.inference.stability`).
    evidence
        Options for collecting provenance evidence; ``None`` disables it.
    """

    limits: Limits = field(default_factory=Limits)
    api_key: str = ""
    enroll_to: Path | None = None
    hosts: tuple[str, ...] = LOCAL_HOSTS
    batch_size: int = BATCH_SIZE
    stability: bool = True
    evidence: EvidenceOptions | None = field(default_factory=EvidenceOptions)
