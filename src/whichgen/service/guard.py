"""What a request must pass before anything reads it: host, origin, key, rate, size."""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import SplitResult, urlsplit

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whichgen.service.settings import MIB, Settings

#: What needs no key and is not counted: the page itself, which holds nothing of the model.
_OPEN = ("/", "/health", "/favicon.ico")

_SECURITY = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Guard:
    """ASGI middleware that refuses what :class:`Settings` do not allow.

    A page of another site may send a browser here, so a request that says it comes from one is
    refused, and so is one under a host name that is not ours.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        per_minute = settings.limits.per_minute
        self._rate = RateLimitItemPerMinute(per_minute) if per_minute else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_SECURITY]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, secured)
            return
        seen, started, refused = 0, False, False

        async def answer(message: Message) -> None:
            nonlocal started
            started = True
            if not refused:
                await secured(message)

        async def bounded() -> Message:
            nonlocal seen, refused
            message = await receive()
            before, seen = seen, seen + len(message.get("body", b""))
            most = self._settings.limits.request_bytes
            if before <= most < seen and not started:
                # Here and not by an exception: an answer may begin while one is under way.
                refused = True
                await _problem(413, self._too_large)(scope, receive, secured)
            return {"type": "http.disconnect"} if seen > most else message

        await self._app(scope, bounded, answer)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        settings = self._settings
        if not self._is_host(headers.get("host", "")):
            return _problem(403, "this host name is not allowed (see --allow-host).")
        origin = headers.get("origin")
        if origin is not None and _parsed(origin).netloc != headers.get("host", ""):
            return _problem(403, "requests of other sites' pages are refused.")
        size = headers.get("content-length", "0")
        most = settings.limits.request_bytes
        if size.isdecimal() and (len(size) > len(str(most)) + 20 or int(size) > most):
            return _problem(413, self._too_large)
        if scope["path"] in _OPEN or scope["path"].startswith("/static/"):
            return None
        if settings.api_key and not _holds(headers, settings.api_key):
            return _problem(401, "the API key is missing or wrong.", {"WWW-Authenticate": "Bearer"})
        client = (scope.get("client") or ("",))[0]
        if self._rate and not self._limiter.hit(self._rate, client):
            return _problem(
                429,
                f"more than {settings.limits.per_minute} requests in a minute.",
                {"Retry-After": "60"},
            )
        return None

    def _is_host(self, host: str) -> bool:
        name = _parsed(f"//{host}").hostname or ""
        return "*" in self._settings.hosts or name in self._settings.hosts

    @property
    def _too_large(self) -> str:
        return f"a request may carry {self._settings.limits.request_bytes / MIB:g} MiB."


def _parsed(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:  # half an IPv6 address
        return SplitResult("", "", "", "", "")


def _holds(headers: Headers, key: str) -> bool:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    given = headers.get("x-api-key") or (token if scheme.lower() == "bearer" else "")
    return hmac.compare_digest(given.encode(), key.encode())


def _problem(status: int, detail: str, headers: dict[str, Any] | None = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, headers)
