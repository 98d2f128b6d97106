"""Middleware that checks the Origin header, size, API key, rate and upload time of requests."""

from __future__ import annotations

import hmac
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whichgen.phrases import format_count
from whichgen.service.settings import Settings
from whichgen.service.upload_checks import PendingUploads, RequestBody, check_request_size

#: Paths that, like those below /static/, need no API key and have no rate limit. Their responses do
#: not describe the model.
_PUBLIC_PATHS = ("/", "/health", "/favicon.ico")

#: Headers added to responses: a page may load only files of the service, and images from memory.
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
    """ASGI middleware that enforces the API key and the limits, and adds security headers.

    Cross-origin requests are rejected. Otherwise, any website could make a visitor's browser send
    requests to the service.

    Parameters
    ----------
    app
        Application that receives the accepted requests.
    settings
        Settings of the service, of which the API key and the limits on requests are used.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._storage = MemoryStorage()
        self._limiter = MovingWindowRateLimiter(self._storage)
        self._clock_offset = time.time() - time.monotonic()
        self._uploads = PendingUploads()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward allowed requests to the application; respond to other requests with an error."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = RequestBody(receive, self._uploads, self._settings.limits)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                body.response_started = True
                message["headers"] = [*message.get("headers", ()), *_SECURITY_HEADERS]
            await send(message)

        async def send_unless_rejected(message: Message) -> None:
            if body.rejection is None:
                await send_with_headers(message)

        try:
            self._check_headers(scope)
            await self._app(scope, body.receive, send_unless_rejected)
        except HTTPException as error:
            body.rejection = error
        except Exception:  # the application may fail because its request was rejected
            if body.rejection is None:
                raise
        finally:
            self._uploads.size -= body.size
        if (rejection := body.rejection) is not None:
            detail = {"detail": rejection.detail}
            response = JSONResponse(detail, rejection.status_code, rejection.headers)
            await response(scope, receive, send_with_headers)

    def _check_headers(self, scope: Scope) -> None:
        """Check the Origin header, the size, the API key and the rate of a request.

        Raises
        ------
        HTTPException
            The request is not allowed.
        """
        headers, limits = Headers(scope=scope), self._settings.limits
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != headers.get("host", ""):
            raise HTTPException(
                403,
                "The Origin header does not match the Host header. Use the web page of this "
                "service; a proxy must forward the Host header.",
            )
        size = headers.get("content-length", "")
        # Limit the length: int() of thousands of digits is slow or fails.
        length = int(size[:20]) if size.isdecimal() else 0
        check_request_size(length, limits)
        if scope["path"] in _PUBLIC_PATHS or scope["path"].startswith("/static/"):
            return
        if not _has_key(headers, self._settings.api_key):
            detail = "Missing or invalid API key. Send the key in the X-API-Key header."
            raise HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})
        if limits.per_minute and not self._count_request((scope.get("client") or ("",))[0]):
            rate = f"{format_count(limits.per_minute, 'request')} per minute"
            detail = f"Rate limit of {rate} exceeded. Retry in 60 s."
            raise HTTPException(429, detail, {"Retry-After": "60"})
        check_request_size(length, limits, self._uploads.size + length)

    def _count_request(self, client: str) -> bool:
        """Count a request of a client; return whether the client is within the rate limit."""
        # The limiter uses wall-clock time. If the clock was set back, the limiter would reject
        # requests until the clock reaches the previous time again.
        offset = time.time() - time.monotonic()
        if abs(offset - self._clock_offset) > 1:
            self._storage.reset()
        self._clock_offset = offset
        rate = RateLimitItemPerMinute(self._settings.limits.per_minute)
        return self._limiter.hit(rate, client)


def _has_key(headers: Headers, key: str) -> bool:
    """Return whether the headers contain the API key; true if ``key`` is empty."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    client_key = headers.get("x-api-key") or (token if scheme.lower() == "bearer" else "")
    return not key or hmac.compare_digest(client_key.encode(), key.encode())
