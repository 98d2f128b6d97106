"""Requests answered together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from whichgen.inference.answers import Attribution
from whichgen.service.batcher import Batcher, ServiceBusy


class Echo:
    """Answers with the content as the origin; holds while ``gate`` is closed."""

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


def run(asked: Echo, body: Callable[[Batcher], Any], **options: Any) -> Any:
    async def main() -> Any:
        batcher = Batcher(asked, **{"wait": 0.2, **options})  # type: ignore[arg-type]
        batcher.start()
        try:
            return await body(batcher)
        finally:
            asked.gate.set()
            await batcher.close()

    return asyncio.run(main())


def origins(answers: list[Attribution]) -> list[str | None]:
    return [answer.origin for answer in answers]


def test_requests_at_a_time_share_batches_and_get_their_own_answers() -> None:
    echo = Echo()

    async def body(batcher: Batcher) -> None:
        asked = [[f"{i}{j}".encode() for j in range(3)] for i in range(4)]
        answers = await asyncio.gather(*(batcher.attribute(images) for images in asked))
        for images, found in zip(asked, answers, strict=True):
            assert origins(found) == [image.decode() for image in images]

    run(echo, body, batch_size=8)
    assert [len(batch) for batch in echo.batches] == [8, 4]


def test_what_does_not_fit_is_refused_whole_and_what_was_accepted_is_answered() -> None:
    echo = Echo()

    async def body(batcher: Batcher) -> None:
        echo.gate.clear()
        first = asyncio.create_task(batcher.attribute([b"a"]))
        while not echo.batches:
            await asyncio.sleep(0.01)
        second = asyncio.create_task(batcher.attribute([b"b", b"c"]))
        await asyncio.sleep(0.01)
        assert batcher.waiting == 2
        with pytest.raises(ServiceBusy) as refused:
            await batcher.attribute([b"d", b"e"])
        assert refused.value.retry_after >= 1 and batcher.waiting == 2
        echo.gate.set()
        assert origins(await first) == ["a"] and origins(await second) == ["b", "c"]
        assert origins(await batcher.attribute([b"d", b"e"])) == ["d", "e"]

    run(echo, body, queue=3, wait=0.0)


def test_stopping_answers_what_was_accepted() -> None:
    echo = Echo()

    async def main() -> list[Attribution]:
        batcher = Batcher(echo, wait=0.0, batch_size=2)  # type: ignore[arg-type]
        batcher.start()
        asked = asyncio.create_task(batcher.attribute([b"%d" % i for i in range(7)]))
        await asyncio.sleep(0)
        await batcher.close()
        return await asked

    assert origins(asyncio.run(main())) == [str(i) for i in range(7)]


def test_an_error_reaches_every_request_of_the_batch_and_no_other() -> None:
    echo = Echo()

    async def body(batcher: Batcher) -> None:
        echo.failure = MemoryError("out of memory")
        found = await asyncio.gather(
            batcher.attribute([b"a"]), batcher.attribute([b"b"]), return_exceptions=True
        )
        assert all(isinstance(error, MemoryError) for error in found)
        echo.failure = None
        assert origins(await batcher.attribute([b"a"])) == ["a"]

    run(echo, body)


def test_answers_are_remembered_until_another_model_answers() -> None:
    echo, other = Echo(), Echo()

    async def body(batcher: Batcher) -> None:
        await batcher.attribute([b"a", b"b"])
        assert origins(await batcher.attribute([b"b", b"c", b"a"])) == ["b", "c", "a"]
        assert echo.batches == [[b"a", b"b"], [b"c"]]
        batcher.replace_model(other)  # type: ignore[arg-type]
        await batcher.attribute([b"a"])
        assert other.batches == [[b"a"]]

    run(echo, body, wait=0.05)


def test_a_client_that_went_away_is_not_computed_for() -> None:
    echo = Echo()

    async def body(batcher: Batcher) -> None:
        echo.gate.clear()
        first = asyncio.create_task(batcher.attribute([b"a"]))
        while not echo.batches:
            await asyncio.sleep(0.01)
        gone = asyncio.create_task(batcher.attribute([b"b"]))
        await asyncio.sleep(0.01)
        gone.cancel()
        echo.gate.set()
        await first
        assert origins(await batcher.attribute([b"c"])) == ["c"]

    run(echo, body, wait=0.0)
    assert echo.batches == [[b"a"], [b"c"]]


def test_few_slow_questions_wait() -> None:
    echo = Echo()

    async def body(batcher: Batcher) -> None:
        hold = threading.Event()
        asked = [
            asyncio.create_task(batcher.run_exclusively(lambda _: hold.wait(20))) for _ in range(4)
        ]
        await asyncio.sleep(0.05)
        with pytest.raises(ServiceBusy):
            await batcher.run_exclusively(lambda _: True)
        hold.set()
        assert await asyncio.gather(*asked) == [True] * 4

    run(echo, body)
