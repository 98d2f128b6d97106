"""Limits of the HTTP service, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass

from whichgen.errors import DataError

#: Bytes per mebibyte.
MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Limits on images, requests and the load of the service.

    Parameters
    ----------
    image_bytes, image_pixels
        Maximum file size in bytes and maximum number of pixels of one image.
    request_images
        Maximum number of images per request.
    body_seconds
        Maximum time in seconds to receive a request body.
    per_minute
        Maximum number of requests per minute from each client address; 0 means no limit.
    queue
        Maximum number of images in the queue. Requests that do not fit are rejected (status 503).

    Raises
    ------
    DataError
        A limit is below 1 (``per_minute``: below 0), or ``request_images`` exceeds ``queue``.
    """

    image_bytes: int = 32 * MIB
    image_pixels: int = 50_000_000
    request_images: int = 64
    body_seconds: float = 60
    per_minute: int = 600
    queue: int = 256

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            minimum = 0 if name == "per_minute" else 1
            if value < minimum:
                raise DataError(f"the limit {name} is {value}. Set it to at least {minimum}.")
        if self.request_images > self.queue:
            raise DataError(
                f"request_images ({self.request_images}) exceeds queue ({self.queue}). Lower "
                "request_images or raise queue."
            )

    @property
    def request_bytes(self) -> int:
        """Maximum body size of one request in bytes: 8 × ``image_bytes``."""
        return 8 * self.image_bytes

    @property
    def pending_bytes(self) -> int:
        """Maximum total body size of all requests in progress in bytes: 4 × ``request_bytes``."""
        return 4 * self.request_bytes
