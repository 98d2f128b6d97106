"""Check uploads against the limits of the service.

A request is rejected if it is too large or has too many images (HTTP status 413), if its upload
takes too long (408), or if all requests in progress are too large in total (503). An image is
rejected if its file is too large or if it has too many pixels.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from whichgen.data.images.decoding import ImageHeader
from whichgen.errors import ImageError
from whichgen.service.limits import MIB, Limits


@dataclass
class PendingUploads:
    """Counter of the bytes received so far in the bodies of all requests in progress."""

    size: int = 0


class RequestBody:
    """Body of one request, with limits on its size and on the time to receive it.

    Parameters
    ----------
    receive
        Coroutine function that returns the next ASGI message of the request.
    uploads
        Counter of the bytes of all requests in progress, to which the bytes of this body are added.
    limits
        Limits on sizes and on the time of an upload.

    Attributes
    ----------
    size
        Number of bytes received so far.
    response_started
        Whether the response has started; set by the middleware.
    rejection
        HTTP error with which the request is rejected; ``None`` unless it is rejected. It is set by
        :meth:`receive` and by the middleware.
    """

    def __init__(self, receive: Receive, uploads: PendingUploads, limits: Limits) -> None:
        self.size = 0
        self.response_started = False
        self.rejection: HTTPException | None = None
        self._receive, self._uploads, self._limits = receive, uploads, limits
        self._deadline = asyncio.get_running_loop().time() + limits.body_seconds
        self._is_complete = False

    async def receive(self) -> Message:
        """Receive and return the next ASGI message.

        If a limit is exceeded after the response has started, return a disconnect message.

        Raises
        ------
        HTTPException
            Before the response has started, the body exceeds its size limit (status 413) or time
            limit (408), or all requests in progress exceed the limit on their total size (503).
        """
        if self._is_complete:  # the only possible message is a disconnect
            return await self._receive()
        try:
            return await self._receive_within_limits()
        except HTTPException as error:
            if self.response_started:
                return {"type": "http.disconnect"}
            self.rejection = error
            raise

    async def _receive_within_limits(self) -> Message:
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            seconds = f"{self._limits.body_seconds:g} s"
            detail = f"Request body not received within {seconds}. Send fewer or smaller images."
            raise HTTPException(408, detail) from None
        self._is_complete = not message.get("more_body", False)
        length = len(message.get("body", b""))
        self.size += length
        self._uploads.size += length
        check_request_size(self.size, self._limits, self._uploads.size)
        return message


def check_image_count(count: int, limits: Limits) -> None:
    """Compare the number of images of a request with the limit.

    Raises
    ------
    HTTPException
        The request has too many images (status 413).
    """
    if count > limits.request_images:
        maximum = limits.request_images
        detail = f"The request has {count} images. Send at most {maximum} per request."
        raise HTTPException(413, detail)


def check_image_bytes(name: str, data: bytes, limits: Limits) -> None:
    """Compare the file size of an image with the limit; ``name`` is its name in messages.

    Raises
    ------
    ImageError
        The file is too large.
    """
    if len(data) > limits.image_bytes:
        raise ImageError(
            f"{name}: file larger than {limits.image_bytes / MIB:.1f} MiB "
            f"({len(data) / MIB:.1f} MiB); send a smaller file"
        )


def check_image_pixels(name: str, header: ImageHeader, limits: Limits) -> None:
    """Compare the number of pixels of an image with the limit; ``name`` is its name in messages.

    Raises
    ------
    ImageError
        The image has too many pixels.
    """
    if header.width * header.height > limits.image_pixels:
        raise ImageError(
            f"{name}: image larger than {limits.image_pixels / 10**6:g} million pixels "
            f"({header.width} × {header.height}); send a smaller image"
        )


def check_request_size(size: int, limits: Limits, pending_bytes: int = 0) -> None:
    """Compare the size of a request and the total size of all requests in progress with the limits.

    Parameters
    ----------
    size
        Size of the request in bytes.
    limits
        Limits of the service.
    pending_bytes
        Total size of all requests in progress in bytes; 0 to check only ``size``.

    Raises
    ------
    HTTPException
        The request is too large (status 413), or the total size is too large (status 503).
    """
    if size > limits.request_bytes:
        maximum = f"{limits.request_bytes / MIB:g} MiB"
        detail = f"Request larger than {maximum}. Send fewer or smaller images."
        raise HTTPException(413, detail)
    if pending_bytes > limits.pending_bytes:
        detail = "Too many uploads in progress. Retry in 5 s."
        raise HTTPException(503, detail, {"Retry-After": "5"})
