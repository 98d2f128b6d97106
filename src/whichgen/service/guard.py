"""Middleware that checks each request before it is read: origin, key, rate, size and speed."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

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

#: A larger change of the wall clock between two requests, in seconds, means that it was set.
_CLOCK_TOLERANCE = 1.0

_FULL = "The service cannot hold more images at the moment. Try again later."
_RETRY_LATER = {"Retry-After": "5"}


class Guard:
    """ASGI middleware that refuses requests that :class:`Settings` do not allow.

    Requests from pages of other sites are refused, because such a page can direct a visitor's
    browser here.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._storage = MemoryStorage()
        self._limiter = MovingWindowRateLimiter(self._storage)
        self._clock_offset = _clock_offset()
        per_minute = settings.limits.per_minute
        self._rate = RateLimitItemPerMinute(per_minute) if per_minute else None
        #: Bytes of the bodies of all requests that are not answered yet.
        self.pending_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or respond with the reason for refusing it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_SECURITY_HEADERS]
            await send(message)

        refusal = self._check_headers(scope)
        if refusal is not None:
            await refusal(scope, receive, send_secured)
            return
        response_started, is_refused = False, False

        async def respond(message: Message) -> None:
            nonlocal response_started
            response_started = True
            if not is_refused:
                await send_secured(message)

        async def refuse(problem: JSONResponse) -> bool:
            # Not an exception: the application may already be sending its response.
            nonlocal is_refused
            if not response_started and not is_refused:
                is_refused = True
                await problem(scope, receive, send_secured)
            return is_refused

        body = _Body(receive, self, self._settings.limits, refuse)
        try:
            await self._app(scope, body.receive, respond)
        except Exception:
            if not is_refused:
                raise
        finally:
            self.pending_bytes -= body.size

    def _check_headers(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        settings = self._settings
        origin = headers.get("origin")
        if origin is not None and _netloc(origin) != headers.get("host", ""):
            return _problem(403, "Requests from pages of other sites are refused.")
        size = headers.get("content-length", "0")
        limit = settings.limits.request_bytes
        # The length is compared first: int() of thousands of digits is slow or an error.
        if size.isdecimal() and (len(size) > len(str(limit)) + 20 or int(size) > limit):
            return _problem(413, _too_large(settings.limits))
        if scope["path"] in _PUBLIC_PATHS or scope["path"].startswith("/static/"):
            return None
        if settings.api_key and not _has_key(headers, settings.api_key):
            return _problem(401, "The API key is missing or wrong.", {"WWW-Authenticate": "Bearer"})
        client = (scope.get("client") or ("",))[0]
        if self._rate and not self._is_within_rate(self._rate, client):
            return _problem(
                429,
                f"More than {settings.limits.per_minute} requests per minute. Try again later.",
                {"Retry-After": "60"},
            )
        if size.isdecimal() and self.pending_bytes + int(size) > settings.limits.pending_bytes:
            return _problem(503, _FULL, _RETRY_LATER)
        return None

    def _is_within_rate(self, rate: RateLimitItemPerMinute, client: str) -> bool:
        # The limiter reads the wall clock: set back by a year, it would refuse for a year.
        offset = _clock_offset()
        if abs(offset - self._clock_offset) > _CLOCK_TOLERANCE:
            self._storage.reset()
        self._clock_offset = offset
        return self._limiter.hit(rate, client)


class _Body:
    """A request body that is counted while it arrives, and refused if it is too slow or large."""

    def __init__(
        self,
        receive: Receive,
        guard: Guard,
        limits: Limits,
        refuse: Callable[[JSONResponse], Awaitable[bool]],
    ) -> None:
        self.size = 0
        self._receive, self._guard, self._limits, self._refuse = receive, guard, limits, refuse
        self._deadline = asyncio.get_running_loop().time() + limits.body_seconds
        self._complete = False

    async def receive(self) -> Message:
        """Return the next message; after a refusal, end the reading."""
        if self._complete:  # the only further message is that the client disconnected
            return await self._receive()
        limits = self._limits
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            detail = f"The request did not arrive within {limits.body_seconds:g} s."
            return await self._end(_problem(408, detail))
        self._complete = not message.get("more_body", False)
        length = len(message.get("body", b""))
        self.size += length
        self._guard.pending_bytes += length
        if self.size > limits.request_bytes:
            return await self._end(_problem(413, _too_large(limits)))
        if self._guard.pending_bytes > limits.pending_bytes:
            return await self._end(_problem(503, _FULL, _RETRY_LATER))
        return message

    async def _end(self, problem: JSONResponse) -> Message:
        if await self._refuse(problem):
            raise HTTPException(problem.status_code)  # the response is sent; this ends the reading
        return {"type": "http.disconnect"}


def _too_large(limits: Limits) -> str:
    return f"The request is too large; the maximum is {limits.request_bytes / MIB:g} MiB."


def _clock_offset() -> float:
    """Wall clock minus monotonic clock, in seconds."""
    return time.time() - time.monotonic()


def _netloc(address: str) -> str:
    try:
        return urlsplit(address).netloc
    except ValueError:  # a malformed IPv6 address
        return ""


def _has_key(headers: Headers, key: str) -> bool:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    client_key = headers.get("x-api-key") or (token if scheme.lower() == "bearer" else "")
    return hmac.compare_digest(client_key.encode(), key.encode())


def _problem(status: int, detail: str, headers: dict[str, Any] | None = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, headers)
