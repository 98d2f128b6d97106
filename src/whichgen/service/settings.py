"""What a service allows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from whichgen.errors import DataError

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What is refused, so that one client can't take the service from all others.

    Parameters
    ----------
    image_bytes, image_pixels
        The most that one image may have.
    request_images, request_bytes
        The most that one request may carry. Uploads are held in memory.
    held_bytes
        The most that all requests which are not yet answered may carry together.
    body_seconds
        Seconds in which a request must be here.
    per_minute
        Requests of one client, by its address, in any minute; 0: as many as it likes.
    queue
        Images that may wait for an answer; a request that does not fit is told to come again.

    Raises
    ------
    DataError
        A limit under which nothing can be asked.
    """

    image_bytes: int = 32 * MIB
    image_pixels: int = 50_000_000
    request_images: int = 64
    request_bytes: int = 256 * MIB
    held_bytes: int = 1024 * MIB
    body_seconds: float = 60
    per_minute: int = 600
    queue: int = 256

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < (0 if name == "per_minute" else 1):
                raise DataError(f"the limit {name} is {value}; it must be at least 1.")
        if self.request_bytes > self.held_bytes:
            raise DataError(
                f"a request may have {self.request_bytes} bytes, but only {self.held_bytes} are "
                "held."
            )
        if self.request_images > self.queue:
            raise DataError(
                f"a request may have {self.request_images} images, but only {self.queue} may wait."
            )


@dataclass(frozen=True)
class Settings:
    """How a service behaves.

    Parameters
    ----------
    api_key
        What clients must send as ``X-API-Key`` or bearer token; empty: nothing.
    enroll_to
        The folder where models with an enrolled origin are written; ``None``: enrolling is off.
    keep_uploads
        The folder where every image asked about is kept by its digest; ``None``: nothing is
        written to disk.
    hosts
        Names under which the service may be called; others are refused, so that no web page can
        reach it through a name of its own (DNS rebinding). ``*`` allows all.
    batch_size, batch_wait
        Images that are answered together at most, and seconds that the first waits for more.
    """

    limits: Limits = field(default_factory=Limits)
    api_key: str = ""
    enroll_to: Path | None = None
    keep_uploads: Path | None = None
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    batch_size: int = 32
    batch_wait: float = 0.01
