"""Middleware that checks each request before it is read: origin, key, rate, size and speed."""

from __future__ import annotations

import asyncio
import hmac
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whichgen.service.settings import MIB, Limits, Settings

#: Paths without key and rate limit: they reveal nothing about the model.
_PUBLIC_PATHS = ("/", "/health", "/favicon.ico")

_SECURITY_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Guard:
    """ASGI middleware that refuses requests that :class:`Settings` do not allow.

    Requests from pages of other sites are refused, because such a page can direct a visitor's
    browser here.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._storage = MemoryStorage()
        self._limiter = MovingWindowRateLimiter(self._storage)
        self._clock_offset = time.time() - time.monotonic()
        #: Bytes of the bodies of all requests that are not answered yet.
        self.pending_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or respond with the reason for refusing it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self, self._settings.limits)

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                body.is_answered = True
                message["headers"] = [*message.get("headers", ()), *_SECURITY_HEADERS]
            await send(message)

        async def respond(message: Message) -> None:
            if body.refusal is None:
                await send_secured(message)

        try:
            self._check_headers(scope)
            await self._app(scope, body.receive, respond)
        except HTTPException as error:
            body.refusal = error
        except Exception:  # the application may have been responding
            if body.refusal is None:
                raise
        finally:
            self.pending_bytes -= body.size
        if (refusal := body.refusal) is not None:
            detail = {"detail": refusal.detail}
            response = JSONResponse(detail, refusal.status_code, refusal.headers)
            await response(scope, receive, send_secured)

    def _check_headers(self, scope: Scope) -> None:
        headers, limits = Headers(scope=scope), self._settings.limits
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != headers.get("host", ""):
            raise HTTPException(403, "Requests from pages of other sites are refused.")
        size = headers.get("content-length", "")
        # int() of thousands of digits is slow or an error.
        length = int(size[:20]) if size.isdecimal() else 0
        _check_size(length, limits)
        if scope["path"] in _PUBLIC_PATHS or scope["path"].startswith("/static/"):
            return
        if not _has_key(headers, self._settings.api_key):
            detail = "The API key is missing or wrong."
            raise HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})
        if limits.per_minute and not self._is_within_rate((scope.get("client") or ("",))[0]):
            detail = f"More than {limits.per_minute} requests per minute. Try again later."
            raise HTTPException(429, detail, {"Retry-After": "60"})
        _check_size(length, limits, self.pending_bytes + length)

    def _is_within_rate(self, client: str) -> bool:
        # The limiter reads the wall clock: set back by a year, it would refuse for a year.
        offset = time.time() - time.monotonic()
        if abs(offset - self._clock_offset) > 1:
            self._storage.reset()
        self._clock_offset = offset
        rate = RateLimitItemPerMinute(self._settings.limits.per_minute)
        return self._limiter.hit(rate, client)


class _Body:
    """A request body that is counted while it arrives, and refused if it is too slow or large."""

    def __init__(self, receive: Receive, guard: Guard, limits: Limits) -> None:
        self.size = 0
        self.is_answered = False
        self.refusal: HTTPException | None = None
        self._receive, self._guard, self._limits = receive, guard, limits
        self._deadline = asyncio.get_running_loop().time() + limits.body_seconds
        self._is_complete = False

    async def receive(self) -> Message:
        """Return the next message.

        Raises
        ------
        HTTPException
            The body exceeds a limit. If the application is already responding, the client counts
            as disconnected instead.
        """
        if self._is_complete:  # the only further message is that the client disconnected
            return await self._receive()
        try:
            return await self._receive_within_limits()
        except HTTPException as error:
            if self.is_answered:
                return {"type": "http.disconnect"}
            self.refusal = error
            raise

    async def _receive_within_limits(self) -> Message:
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            detail = f"The request did not arrive within {self._limits.body_seconds:g} s."
            raise HTTPException(408, detail) from None
        self._is_complete = not message.get("more_body", False)
        length = len(message.get("body", b""))
        self.size += length
        self._guard.pending_bytes += length
        _check_size(self.size, self._limits, self._guard.pending_bytes)
        return message


def _check_size(size: int, limits: Limits, pending_bytes: int = 0) -> None:
    """Check the size of a request and of all pending ones, in bytes."""
    if size > limits.request_bytes:
        detail = f"The request is too large; the maximum is {limits.request_bytes / MIB:g} MiB."
        raise HTTPException(413, detail)
    if pending_bytes > limits.pending_bytes:
        detail = "The service cannot hold more images at the moment. Try again later."
        raise HTTPException(503, detail, {"Retry-After": "5"})


def _has_key(headers: Headers, key: str) -> bool:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    client_key = headers.get("x-api-key") or (token if scheme.lower() == "bearer" else "")
    return not key or hmac.compare_digest(client_key.encode(), key.encode())
