"""Images of concurrent requests share batches."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from whichgen.inference.attribution import Attribution
from whichgen.service.batcher import Batcher, ServiceBusy
from whichgen.service.limits import Limits
from whichgen.service.settings import Settings


class Echo:
    """Attributor that answers with the content of a file, and waits for ``gate`` to open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[list[bytes]] = []
        self.failure: Exception | None = None

    def attribute(self, images: Sequence[bytes], **_: Any) -> list[Attribution]:
        self.batches.append(list(images))
        assert self.gate.wait(20)
        if self.failure:
            raise self.failure
        return [Attribution("", data.decode(), {}, 0.0, 0.0) for data in images]


def run(
    echo: Echo, body: Callable[[Batcher], Any], *, batch_size: int = 32, queue: int = 64
) -> Any:
    """Run a coroutine function with a running batcher."""

    async def main() -> Any:
        settings = Settings(batch_size=batch_size, limits=Limits(queue=queue, request_images=1))
        batcher = Batcher(echo, settings)  # type: ignore[arg-type]
        async with batcher.lifespan():
            try:
                return await body(batcher)
            finally:
                echo.gate.set()

    return asyncio.run(main())


def list_origins(answers: list[Attribution]) -> list[str | None]:
    return [answer.origin for answer in answers]


def test_concurrent_requests_share_batches() -> None:
    echo = Echo()

    async def body(batcher: Batcher) -> None:
        requests = [[f"{i}{j}".encode() for j in range(3)] for i in range(4)]
        responses = await asyncio.gather(*(batcher.attribute(images) for images in requests))
        for images, answers in zip(requests, responses, strict=True):
            assert list_origins(answers) == [image.decode() for image in images]

    run(echo, body, batch_size=8)
    assert [len(batch) for batch in echo.batches] == [8, 4]


def test_request_over_the_queue_limit_is_rejected_as_a_whole() -> None:
    echo = Echo()

    async def body(batcher: Batcher) -> None:
        echo.gate.clear()
        first = asyncio.create_task(batcher.attribute([b"a"]))
        while not echo.batches:
            await asyncio.sleep(0.01)
        second = asyncio.create_task(batcher.attribute([b"b", b"c"]))
        await asyncio.sleep(0.01)
        assert batcher.queue_size == 2
        with pytest.raises(ServiceBusy) as error:
            await batcher.attribute([b"d", b"e"])
        assert int((error.value.headers or {})["Retry-After"]) >= 1 and batcher.queue_size == 2
        echo.gate.set()
        assert list_origins(await first) == ["a"] and list_origins(await second) == ["b", "c"]
        assert list_origins(await batcher.attribute([b"d", b"e"])) == ["d", "e"]

    run(echo, body, queue=3)


def test_stopping_answers_accepted_images() -> None:
    async def main() -> list[Attribution]:
        batcher = Batcher(Echo(), Settings(batch_size=2))  # type: ignore[arg-type]
        async with batcher.lifespan():
            request = asyncio.create_task(batcher.attribute([b"%d" % i for i in range(7)]))
            await asyncio.sleep(0)
        return await request

    assert list_origins(asyncio.run(main())) == [str(i) for i in range(7)]


def test_error_affects_only_requests_in_the_same_batch() -> None:
    echo = Echo()

    async def body(batcher: Batcher) -> None:
        echo.failure = MemoryError("out of memory")
        errors = await asyncio.gather(
            batcher.attribute([b"a"]), batcher.attribute([b"b"]), return_exceptions=True
        )
        assert all(isinstance(error, MemoryError) for error in errors)
        echo.failure = None
        assert list_origins(await batcher.attribute([b"a"])) == ["a"]

    run(echo, body)


def test_answers_are_cached_until_the_model_is_replaced() -> None:
    echo, other = Echo(), Echo()

    async def body(batcher: Batcher) -> None:
        await batcher.attribute([b"a", b"b"])
        assert list_origins(await batcher.attribute([b"b", b"c", b"a"])) == ["b", "c", "a"]
        assert echo.batches == [[b"a", b"b"], [b"c"]]
        batcher.replace_model(other)  # type: ignore[arg-type]
        await batcher.attribute([b"a"])
        assert other.batches == [[b"a"]]

    run(echo, body)


def test_images_of_disconnected_clients_are_skipped() -> None:
    echo = Echo()

    async def body(batcher: Batcher) -> None:
        echo.gate.clear()
        first = asyncio.create_task(batcher.attribute([b"a"]))
        while not echo.batches:
            await asyncio.sleep(0.01)
        request = asyncio.create_task(batcher.attribute([b"b"]))
        await asyncio.sleep(0.01)
        request.cancel()
        echo.gate.set()
        await first
        assert list_origins(await batcher.attribute([b"c"])) == ["c"]

    run(echo, body)
    assert echo.batches == [[b"a"], [b"c"]]


def test_the_number_of_long_tasks_is_limited() -> None:
    echo = Echo()

    async def body(batcher: Batcher) -> None:
        hold = threading.Event()
        tasks = [
            asyncio.create_task(batcher.run_exclusively(lambda _: hold.wait(20))) for _ in range(4)
        ]
        await asyncio.sleep(0.05)
        with pytest.raises(ServiceBusy):
            await batcher.run_exclusively(lambda _: True)
        hold.set()
        assert await asyncio.gather(*tasks) == [True] * 4

    run(echo, body)
