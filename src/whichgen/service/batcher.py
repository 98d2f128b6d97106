"""Attribute the images of concurrent requests in shared batches.

One thread runs the model, for batches and for long tasks (heat maps, enrollments). New images wait
in a bounded queue until the current batch is complete. A request is accepted only if all its images
without a cached answer fit in the queue. During shutdown, all accepted requests are completed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from starlette.exceptions import HTTPException

from whichgen.data.images.decoding import hash_image
from whichgen.defaults import SIMILAR_IMAGES
from whichgen.inference.attribution import Attribution
from whichgen.inference.attributor import Attributor
from whichgen.service.settings import Settings

#: Maximum number of cached answers. The cache speeds up reports, for which the web page sends the
#: images again.
_CACHE_SIZE = 1024

#: Maximum number of long tasks that wait or run, and assumed seconds per task.
_LONG_TASKS, _LONG_TASK_SECONDS = 4, 5

_T = TypeVar("_T")


class ServiceBusy(HTTPException):
    """HTTP error 503: too many images or long tasks are pending.

    Parameters
    ----------
    retry_after
        Time in seconds after which clients may retry.
    """

    def __init__(self, retry_after: int) -> None:
        detail = f"Too many images or tasks are pending. Retry in {retry_after} s."
        super().__init__(503, detail, {"Retry-After": str(retry_after)})


@dataclass(frozen=True)
class _QueuedImage:
    """Image file in the queue: its content, its digest, and a future that receives its answer."""

    data: bytes
    digest: bytes
    answer: asyncio.Future[Attribution]


class Batcher:
    """Bounded image queue and the thread that runs the model.

    Parameters
    ----------
    attributor
        Model with its encoder; :meth:`replace_model` replaces both.
    settings
        Settings of the service; the batch size, the queue limit and ``stability`` are used.
    on_batch
        Function called after each successful batch with the number of images and the duration in
        seconds.
    """

    def __init__(
        self,
        attributor: Attributor,
        settings: Settings,
        on_batch: Callable[[int, float], None] = lambda images, seconds: None,
    ) -> None:
        self.attributor = attributor
        self._settings = settings
        self._on_batch = on_batch
        self._queue: asyncio.Queue[_QueuedImage] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="whichgen")
        self._cache: dict[bytes, Attribution] = {}
        self._long_tasks = 0
        self._rate = 10.0  # images per second; an initial estimate

    @property
    def queue_size(self) -> int:
        """Number of images in the queue."""
        return self._queue.qsize()

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Process the queue while the context is open; complete all accepted requests on exit."""
        task = asyncio.create_task(self._process_queue())
        yield
        await self._queue.join()
        task.cancel()
        self._thread.shutdown()

    async def attribute(self, images: Sequence[bytes]) -> list[Attribution]:
        """Attribute image files; return one answer per image, in the same order.

        ``images`` are the contents of the files. Cached answers are reused. The image name in an
        answer is the number of the image in its batch, such as ``image 3``.

        Raises
        ------
        ServiceBusy
            The images without a cached answer do not fit in the queue.
        Exception
            Any error of :meth:`~whichgen.inference.attributor.Attributor.attribute`.
        """
        digests = [hash_image(data) for data in images]
        cached_answers = [self._cache.get(digest) for digest in digests]
        loop = asyncio.get_running_loop()
        new_images = [
            _QueuedImage(data, digest, loop.create_future())
            for data, digest, answer in zip(images, digests, cached_answers, strict=True)
            if answer is None
        ]
        if self.queue_size + len(new_images) > self._settings.limits.queue:
            raise ServiceBusy(1 + int(self.queue_size / self._rate))
        for image in new_images:
            self._queue.put_nowait(image)
        new_answers = iter(await asyncio.gather(*(image.answer for image in new_images)))
        return [next(new_answers) if answer is None else answer for answer in cached_answers]

    async def run_exclusively(self, task: Callable[[Attributor], _T]) -> _T:
        """Run a long task on the model thread, between two batches, and return its result.

        ``task`` is called with the attributor that is in use when the task starts.

        Raises
        ------
        ServiceBusy
            Too many long tasks (:data:`_LONG_TASKS`) are already waiting or running.
        Exception
            Any error of ``task``.
        """
        if self._long_tasks >= _LONG_TASKS:
            raise ServiceBusy(_LONG_TASK_SECONDS * self._long_tasks)
        self._long_tasks += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, lambda: task(self.attributor))
        finally:
            self._long_tasks -= 1

    def replace_model(self, attributor: Attributor) -> None:
        """Use another model for new batches and long tasks, and clear the answer cache."""
        # Create a new dictionary, because a batch of the old model may still add its answers.
        self.attributor, self._cache = attributor, {}

    async def _process_queue(self) -> None:
        while True:
            queued_images = [await self._queue.get()]
            while len(queued_images) < self._settings.batch_size and not self._queue.empty():
                queued_images.append(self._queue.get_nowait())
            # If a client has disconnected, the futures of its images are canceled.
            batch = [image for image in queued_images if not image.answer.done()]
            if batch:
                await self._attribute_batch(batch)
            for _ in queued_images:
                self._queue.task_done()

    async def _attribute_batch(self, batch: list[_QueuedImage]) -> None:
        attributor, cache, settings = self.attributor, self._cache, self._settings
        images = [image.data for image in batch]
        start = time.perf_counter()
        try:
            answers = await asyncio.get_running_loop().run_in_executor(
                self._thread,
                lambda: attributor.attribute(
                    images,
                    nearest=SIMILAR_IMAGES,
                    stability=settings.stability,
                    batch_size=settings.batch_size,
                ),
            )
        except Exception as error:  # report any failure to the waiting requests
            for image in batch:
                if not image.answer.done():
                    image.answer.set_exception(error)
            return
        seconds = time.perf_counter() - start
        # Exponential moving average.
        self._rate = 0.7 * self._rate + 0.3 * len(batch) / max(seconds, 1e-3)
        self._on_batch(len(batch), seconds)
        for image, answer in zip(batch, answers, strict=True):
            if not image.answer.done():
                image.answer.set_result(answer)
            cache[image.digest] = answer
        while len(cache) > _CACHE_SIZE:
            del cache[next(iter(cache))]
