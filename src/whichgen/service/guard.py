"""What a request must pass before anything reads it: host, origin, key, rate, size, pace."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whichgen.service.settings import MIB, Limits, Settings

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


#: Seconds between two requests by which the wall clock differs only if it was set.
_SET = 1.0

_FULL = "the service holds as many images as it can; try again later."
_LATER = {"Retry-After": "5"}


class Guard:
    """ASGI middleware that refuses what :class:`Settings` do not allow.

    A page of another site may send a browser here, so a request that says it comes from one is
    refused, and so is one under a host name that is not ours.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._counted = MemoryStorage()
        self._limiter = MovingWindowRateLimiter(self._counted)
        self._offset = _clock_offset()
        per_minute = settings.limits.per_minute
        self._rate = RateLimitItemPerMinute(per_minute) if per_minute else None
        self._held = _Held()

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
        started, refused = False, False

        async def answer(message: Message) -> None:
            nonlocal started
            started = True
            if not refused:
                await secured(message)

        async def refuse(problem: JSONResponse) -> bool:
            # Here and not by an exception: an answer may begin while one is under way.
            nonlocal refused
            if not started and not refused:
                refused = True
                await problem(scope, receive, secured)
            return refused

        body = _Body(receive, self._settings.limits, self._held, refuse)
        try:
            await self._app(scope, body.receive, answer)
        except Exception:
            if not refused:
                raise
        finally:
            self._held.bytes -= body.size

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
            return _problem(413, _too_large(settings.limits))
        if scope["path"] in _OPEN or scope["path"].startswith("/static/"):
            return None
        if settings.api_key and not _holds(headers, settings.api_key):
            return _problem(401, "the API key is missing or wrong.", {"WWW-Authenticate": "Bearer"})
        client = (scope.get("client") or ("",))[0]
        if self._rate and not self._may_ask(self._rate, client):
            return _problem(
                429,
                f"more than {settings.limits.per_minute} requests in a minute.",
                {"Retry-After": "60"},
            )
        if size.isdecimal() and self._held.bytes + int(size) > settings.limits.held_bytes:
            return _problem(503, _FULL, _LATER)
        return None

    def _may_ask(self, rate: RateLimitItemPerMinute, client: str) -> bool:
        # The limiter reads the wall clock. Set back by a year, it would refuse for a year.
        offset = _clock_offset()
        if abs(offset - self._offset) > _SET:
            self._counted.reset()
        self._offset = offset
        return self._limiter.hit(rate, client)

    def _is_host(self, host: str) -> bool:
        name = _parsed(f"//{host}").hostname or ""
        return "*" in self._settings.hosts or name in self._settings.hosts


@dataclass
class _Held:
    """Bytes of the bodies of all requests that are not yet answered."""

    bytes: int = 0


class _Body:
    """A request's body on its way: counted, and given up where it comes too slowly."""

    def __init__(
        self,
        receive: Receive,
        limits: Limits,
        held: _Held,
        refuse: Callable[[JSONResponse], Awaitable[bool]],
    ) -> None:
        self.size = 0
        self._receive, self._limits, self._held, self._refuse = receive, limits, held, refuse
        self._until = asyncio.get_running_loop().time() + limits.body_seconds
        self._complete = False

    async def receive(self) -> Message:
        """The next message; once an answer has begun, one too many is that the client is gone."""
        if self._complete:  # what comes now is that the client went away
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            seconds = self._limits.body_seconds
            return await self._over(_problem(408, f"the request was not here after {seconds:g} s."))
        self._complete = not message.get("more_body", False)
        more = len(message.get("body", b""))
        self.size += more
        self._held.bytes += more
        if self.size > self._limits.request_bytes:
            return await self._over(_problem(413, _too_large(self._limits)))
        if self._held.bytes > self._limits.held_bytes:
            return await self._over(_problem(503, _FULL, _LATER))
        return message

    async def _over(self, problem: JSONResponse) -> Message:
        if await self._refuse(problem):
            raise HTTPException(problem.status_code)  # nobody hears it, but it ends the reading
        return {"type": "http.disconnect"}


def _too_large(limits: Limits) -> str:
    return f"a request may carry {limits.request_bytes / MIB:g} MiB."


def _clock_offset() -> float:
    """Seconds between the wall clock and one that nobody sets."""
    return time.time() - time.monotonic()


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
