"""Limits on memory and time per request and in total."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
from PIL import Image
from starlette.types import Message, Receive, Scope, Send

from whichgen.errors import DataError
from whichgen.inference.attribution import Attribution
from whichgen.inference.attributor import Attributor
from whichgen.service import http_app as app_module
from whichgen.service.limits import Limits
from whichgen.service.request_guard import Guard
from whichgen.service.settings import Settings

from .conftest import encode_png, serve, upload


class SlowApp:
    """Application that reads the whole body and then waits for its gate."""

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


async def post(guard: Guard, chunks: Sequence[bytes | None], *, sized: bool = True) -> int:
    """Return the status of a POST request in chunks; the client stops sending at ``None``."""
    size = sum(len(chunk or b"") for chunk in chunks)
    headers = [(b"host", b"localhost")]
    headers += [(b"content-length", str(size).encode())] if sized else []
    remaining = list(chunks)
    messages: list[Message] = []

    async def receive() -> Message:
        chunk = remaining.pop(0)
        if chunk is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": chunk, "more_body": bool(remaining)}

    async def send(message: Message) -> None:
        messages.append(message)

    scope = {"type": "http", "path": "/attribute", "headers": headers, "client": ("c", 1)}
    await guard(scope, receive, send)
    return int(messages[0]["status"])


def run_guarded(body: Callable[[Guard, SlowApp], Any], **limits: float) -> None:
    """Run ``body`` with a slow application behind a guard with these limits."""

    async def main() -> None:
        app = SlowApp()
        await body(Guard(app, Settings(limits=replace(Limits(), **limits))), app)  # type: ignore[arg-type]

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize("sized", [True, False])
def test_the_total_size_of_pending_requests_is_limited(sized: bool) -> None:
    async def body(guard: Guard, app: SlowApp) -> None:
        pending = [asyncio.create_task(post(guard, [b"x" * 40] * 2, sized=sized)) for _ in range(4)]
        while len(app.read) < 4:
            await asyncio.sleep(0)
        assert await post(guard, [b"x" * 20] * 4, sized=sized) == 503
        assert app.read == [80] * 4
        small = asyncio.create_task(post(guard, [b"x" * 40], sized=sized))
        while len(app.read) < 5:
            await asyncio.sleep(0)
        app.gate.set()
        assert [await one for one in [*pending, small]] == [200] * 5
        # Completed and rejected requests are no longer counted.
        for _ in range(5):
            assert await post(guard, [b"x" * 96], sized=sized) == 200

    run_guarded(body, image_bytes=12)


def test_slow_body_is_rejected_without_blocking_others() -> None:
    async def body(guard: Guard, app: SlowApp) -> None:
        app.gate.set()
        slow = asyncio.create_task(post(guard, [b"half", None, b"other half"]))
        assert await post(guard, [b"whole"]) == 200
        assert await slow == 408
        assert app.read == [5]

    run_guarded(body, body_seconds=1)


def test_the_time_limit_excludes_the_computation() -> None:
    async def body(guard: Guard, app: SlowApp) -> None:
        request = asyncio.create_task(post(guard, [b"whole"]))
        await asyncio.sleep(1.2)
        app.gate.set()
        assert await request == 200

    run_guarded(body, body_seconds=1)


def test_contradictory_limits_are_rejected() -> None:
    with pytest.raises(DataError, match=r"request_images \(64\) exceeds queue \(8\)"):
        Limits(queue=8)


def test_images_of_disconnected_clients_are_not_computed(
    attributor: Attributor, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "_DISCONNECT_INTERVAL", 0.05)
    gate, batches = threading.Event(), list[int]()
    original = attributor.attribute

    def attribute(contents: Sequence[bytes], **options: Any) -> list[Attribution]:
        batches.append(len(contents))
        assert gate.wait(20)
        return original(contents, **options)

    monkeypatch.setattr(attributor, "attribute", attribute)
    first, second, last = (upload(encode_png(image)) for image in images[:3])
    with serve(attributor) as address:
        statuses: list[int] = []
        patient = threading.Thread(
            target=lambda: statuses.append(
                httpx.post(f"{address}attribute", files=first, timeout=30).status_code
            )
        )
        patient.start()
        while not batches:
            time.sleep(0.01)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{address}attribute", files=second, timeout=0.3)
        deadline = time.monotonic() + 20
        metric = 'path="/attribute",status="499"'
        while metric not in httpx.get(f"{address}metrics").text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        gate.set()
        assert httpx.post(f"{address}attribute", files=last, timeout=30).status_code == 200
        patient.join(20)
        assert statuses == [200]
    assert batches == [1, 1]
