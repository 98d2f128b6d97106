"""Settings and limits of the service; the command line takes its defaults from here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from whichgen.constants import BATCH_SIZE
from whichgen.errors import DataError

MIB = 2**20

#: Host names of this machine.
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Limits:
    """Limits that keep one client from exhausting the service for all others.

    Parameters
    ----------
    image_bytes, image_pixels
        Maximum size of one image.
    request_images, request_bytes
        Maximum size of one request. Uploads are held in memory.
    pending_bytes
        Maximum total size of all requests that are not answered yet.
    body_seconds
        Time within which a request must arrive, in seconds.
    per_minute
        Requests per client address and minute; 0: no limit.
    queue
        Images that may wait for an answer; a request that does not fit receives 503.

    Raises
    ------
    DataError
        A limit is not positive, or one request could exceed the service-wide limit.
    """

    image_bytes: int = 32 * MIB
    image_pixels: int = 50_000_000
    request_images: int = 64
    # For the command line, for_images derives this from image_bytes.
    request_bytes: int = 256 * MIB
    pending_bytes: int = 1024 * MIB
    body_seconds: float = 60
    per_minute: int = 600
    queue: int = 256

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < (0 if name == "per_minute" else 1):
                raise DataError(f"the limit {name} is {value}; it must be at least 1.")
        for one, total in (("request_bytes", "pending_bytes"), ("request_images", "queue")):
            if getattr(self, one) > getattr(self, total):
                raise DataError(
                    f"{one} ({getattr(self, one)}) exceeds {total} ({getattr(self, total)}). "
                    f"Lower {one} or raise {total}."
                )

    @classmethod
    def for_images(
        cls, *, image_bytes: int, image_pixels: int, per_minute: int, queue: int
    ) -> Limits:
        """Derive the limits of requests from those of single images.

        A request may carry eight images of the maximum size (at least 64 MiB), and four such
        requests may be pending.
        """
        request_bytes = max(8 * image_bytes, 64 * MIB)
        return cls(
            image_bytes=image_bytes,
            image_pixels=image_pixels,
            request_images=min(cls.request_images, queue),
            request_bytes=request_bytes,
            pending_bytes=4 * request_bytes,
            per_minute=per_minute,
            queue=queue,
        )


@dataclass(frozen=True)
class Settings:
    """Configuration of a service.

    Parameters
    ----------
    api_key
        Key that clients must send as ``X-API-Key`` or bearer token; empty: no key.
    enroll_to
        Folder for models with an enrolled origin; ``None``: enrollment is disabled.
    keep_uploads
        Folder in which every uploaded image is stored under its digest; ``None``: nothing is
        written to disk.
    hosts
        Host names under which the service may be addressed. Others are refused, so that no web
        page can reach it through a name of its own (DNS rebinding). ``*`` allows all.
    batch_size
        Maximum number of images per batch.
    """

    limits: Limits = field(default_factory=Limits)
    api_key: str = ""
    enroll_to: Path | None = None
    keep_uploads: Path | None = None
    hosts: tuple[str, ...] = LOCAL_HOSTS
    batch_size: int = BATCH_SIZE
