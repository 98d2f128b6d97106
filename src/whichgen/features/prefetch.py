"""Run work ahead of time in threads, so that decoding overlaps with encoding."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

T = TypeVar("T")
Item = TypeVar("Item")


def count_threads() -> int:
    """Return the number of threads that read and decode: two per torch thread, at least four."""
    return max(4, 2 * torch.get_num_threads())


def prefetch(
    function: Callable[[Item], T], items: Iterable[Item], *, threads: int, depth: int
) -> Generator[T]:
    """Yield ``function(item)`` for each item, in order, computed ahead in threads.

    Parameters
    ----------
    threads
        Number of threads.
    depth
        Maximum number of items in progress or waiting to be yielded. Items that have not started
        are dropped when the generator is closed.
    """
    remaining = iter(items)
    pending: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in islice(remaining, depth):
            pending.append(pool.submit(function, item))
        while pending:
            yield pending.popleft().result()
            for item in islice(remaining, 1):
                pending.append(pool.submit(function, item))
    finally:
        # Do not wait: the garbage collector may run this in the middle of a thread's start, whose
        # lock the end of another thread would wait for forever.
        pool.shutdown(wait=False, cancel_futures=True)
