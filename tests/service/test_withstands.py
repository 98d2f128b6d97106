"""What no client may do to the others: hold memory, dawdle, or have answers computed for nobody."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
import uvicorn
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from whichgen.errors import DataError
from whichgen.inference.answers import Attribution
from whichgen.inference.attributor import Attributor
from whichgen.service import app as app_module
from whichgen.service.app import create_app
from whichgen.service.guard import Guard
from whichgen.service.settings import Limits, Settings

from .conftest import png, upload


class Holding:
    """An application that reads a body whole, then waits for its gate."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.read: list[int] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        self.read.append(size)
        await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def ask(guard: Guard, pieces: Sequence[bytes | None], *, told: bool = True) -> int:
    """The status of a POST whose body comes in pieces; at ``None`` nothing more ever comes."""
    whole = sum(len(piece or b"") for piece in pieces)
    headers = [(b"host", b"localhost")]
    headers += [(b"content-length", str(whole).encode())] if told else []
    coming = list(pieces)
    started: list[Message] = []

    async def receive() -> Message:
        piece = coming.pop(0)
        if piece is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": piece, "more_body": bool(coming)}

    async def send(message: Message) -> None:
        started.append(message)

    scope = {"type": "http", "path": "/attribute", "headers": headers, "client": ("c", 1)}
    try:
        await guard(scope, receive, send)
    except HTTPException as error:  # FastAPI answers it
        return error.status_code
    return int(started[0]["status"])


def guarded(body: Callable[[Guard, Holding], Any], **limits: float) -> None:
    """Runs ``body`` with a guard of these limits before an application that holds."""

    async def main() -> None:
        app = Holding()
        await body(Guard(app, Settings(limits=replace(Limits(), **limits))), app)  # type: ignore[arg-type]

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize("told", [True, False])
def test_requests_hold_no_more_together_than_is_allowed(told: bool) -> None:
    async def body(guard: Guard, app: Holding) -> None:
        held = [asyncio.create_task(ask(guard, [b"x" * 40] * 2, told=told)) for _ in range(2)]
        while len(app.read) < 2:
            await asyncio.sleep(0)
        assert await ask(guard, [b"x" * 20] * 3, told=told) == 503
        assert app.read == [80, 80]
        small = asyncio.create_task(ask(guard, [b"x" * 40], told=told))  # it fits beside them
        while len(app.read) < 3:
            await asyncio.sleep(0)
        app.gate.set()
        assert [await one for one in [*held, small]] == [200] * 3
        # All is given back, also by those that were refused.
        for _ in range(5):
            assert await ask(guard, [b"x" * 100], told=told) == 200

    guarded(body, pending_bytes=200, request_bytes=100, request_images=1)


def test_a_body_must_come_within_its_time_and_others_go_on_meanwhile() -> None:
    async def body(guard: Guard, app: Holding) -> None:
        app.gate.set()
        slow = asyncio.create_task(ask(guard, [b"half", None, b"other half"]))
        assert await ask(guard, [b"whole"]) == 200
        assert await slow == 408
        assert app.read == [5]

    guarded(body, body_seconds=1)


def test_time_is_for_the_body_not_for_the_answer() -> None:
    async def body(guard: Guard, app: Holding) -> None:
        asked = asyncio.create_task(ask(guard, [b"whole"]))
        await asyncio.sleep(1.2)
        app.gate.set()
        assert await asked == 200

    guarded(body, body_seconds=1)


def test_a_request_must_fit_into_what_is_held() -> None:
    with pytest.raises(DataError, match=r"request_bytes \(100\) exceeds pending_bytes \(50\)"):
        Limits(request_bytes=100, pending_bytes=50)


@contextmanager
def listening(attributor: Attributor) -> Iterator[str]:
    """The address of a service on a real socket."""
    server = uvicorn.Server(uvicorn.Config(create_app(attributor), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


def test_for_a_client_that_went_away_nothing_is_computed(
    attributor: Attributor, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "_DISCONNECT_INTERVAL", 0.05)
    gate, batches = threading.Event(), list[int]()
    really = attributor.attribute

    def attribute(asked: Sequence[bytes], **options: Any) -> list[Attribution]:
        batches.append(len(asked))
        assert gate.wait(20)
        return really(asked, **options)

    monkeypatch.setattr(attributor, "attribute", attribute)
    first, gone, last = (upload(png(image)) for image in images[:3])
    with listening(attributor) as address:
        said: list[int] = []
        patient = threading.Thread(
            target=lambda: said.append(
                httpx.post(f"{address}/attribute", files=first, timeout=30).status_code
            )
        )
        patient.start()
        while not batches:
            time.sleep(0.01)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{address}/attribute", files=gone, timeout=0.3)
        deadline = time.monotonic() + 20
        counted = 'path="/attribute",status="499"'
        while counted not in httpx.get(f"{address}/metrics").text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        gate.set()
        assert httpx.post(f"{address}/attribute", files=last, timeout=30).status_code == 200
        patient.join(20)
        assert said == [200]
    assert batches == [1, 1]
