"""Images of many requests answered together: the encoder is fastest on full batches.

One thread computes. While it does, requests wait in a queue of bounded length; the next batch takes
what has come. A request is accepted whole or not at all, and what was accepted is answered also
when the service is told to stop.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from whichgen.data.reading import hash_image
from whichgen.errors import WhichgenError
from whichgen.inference.attributor import Attribution, Attributor
from whichgen.service.responses import NEAREST

#: Answers that are remembered by image content: a report asks for what the page has just asked.
_REMEMBERED = 1024

#: Slow questions (heat maps, enrolments) that may wait at a time.
_SLOW = 4

_T = TypeVar("_T")


class Busy(WhichgenError):
    """Too many images wait; ``retry_after`` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many images wait for an answer; try again in {retry_after} s.")
        self.retry_after = retry_after


@dataclass(frozen=True)
class _Asked:
    """An image file's content, the digest it is remembered by, and its answer to come."""

    data: bytes
    digest: bytes
    answer: asyncio.Future[Attribution]


class Batcher:
    """The service's one user of the encoder.

    Parameters
    ----------
    attributor
        What answers; :meth:`replace` sets another.
    batch_size, wait
        Images in a batch at most, and seconds that the first of one waits for others.
    queue
        Images that may wait.
    on_batch
        Called after each batch with its number of images and seconds.
    """

    def __init__(
        self,
        attributor: Attributor,
        *,
        batch_size: int = 32,
        wait: float = 0.01,
        queue: int = 256,
        on_batch: Callable[[int, float], None] = lambda images, seconds: None,
    ) -> None:
        self.attributor = attributor
        self._size, self._wait, self._most = batch_size, wait, queue
        self._on_batch = on_batch
        self._queue: asyncio.Queue[_Asked | None] = asyncio.Queue()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="whichgen")
        self._known: OrderedDict[bytes, Attribution] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self._slow = 0
        self._rate = 10.0  # images a second; of the last batches once there were some

    @property
    def waiting(self) -> int:
        """Images that wait now."""
        return self._queue.qsize()

    def start(self) -> None:
        """Begins to answer, in the running event loop."""
        self._task = asyncio.create_task(self._serve())

    async def close(self) -> None:
        """Answers what was accepted, then stops."""
        if self._task is not None:
            self._queue.put_nowait(None)
            await self._task
        self._worker.shutdown()

    async def ask(self, images: Sequence[bytes]) -> list[Attribution]:
        """The answers about image files, in order.

        Raises
        ------
        Busy
            They don't fit into the queue.
        """
        digests = [hash_image(data) for data in images]
        found = [self._known.get(digest) for digest in digests]
        loop = asyncio.get_running_loop()
        new = [
            _Asked(data, digest, loop.create_future())
            for data, digest, known in zip(images, digests, found, strict=True)
            if known is None
        ]
        if self.waiting + len(new) > self._most:
            raise Busy(1 + int(self.waiting / self._rate))
        for asked in new:
            self._queue.put_nowait(asked)
        answered = iter(await asyncio.gather(*(asked.answer for asked in new)))
        return [next(answered) if known is None else known for known in found]

    async def alone(self, question: Callable[[Attributor], _T]) -> _T:
        """The answer to a question that takes the encoder for itself.

        Raises
        ------
        Busy
            Others wait already.
        """
        if self._slow >= _SLOW:
            raise Busy(5 * self._slow)
        self._slow += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._worker, lambda: question(self.attributor))
        finally:
            self._slow -= 1

    def replace(self, attributor: Attributor) -> None:
        """From the next batch on another one answers; what the old one said is forgotten."""
        self.attributor = attributor
        self._known.clear()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        last = False
        while not last:
            batch = []
            item = await self._queue.get()
            until = loop.time() + self._wait
            while item is not None:
                batch.append(item)
                if len(batch) == self._size:
                    break
                try:
                    async with asyncio.timeout_at(until):
                        item = await self._queue.get()
                except TimeoutError:
                    break
            else:
                last = True
            # A client that went away needs no answer.
            batch = [asked for asked in batch if not asked.answer.done()]
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: list[_Asked]) -> None:
        attributor, images = self.attributor, [asked.data for asked in batch]
        start = time.perf_counter()
        try:
            answers = await asyncio.get_running_loop().run_in_executor(
                self._worker,
                lambda: attributor.attribute(images, nearest=NEAREST, batch_size=self._size),
            )
        except Exception as error:  # whatever it is, each request must hear of it
            for asked in batch:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
            return
        seconds = time.perf_counter() - start
        self._rate = 0.7 * self._rate + 0.3 * len(batch) / max(seconds, 1e-3)
        self._on_batch(len(batch), seconds)
        for asked, answer in zip(batch, answers, strict=True):
            if not asked.answer.done():
                asked.answer.set_result(answer)
            if attributor is self.attributor:
                self._known[asked.digest] = answer
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
