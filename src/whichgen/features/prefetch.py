"""Work done ahead in threads, so that decoding overlaps with encoding."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar, TypeVarTuple

import joblib

#: Threads that read, decode and preprocess, unless a caller says otherwise: a GPU waits for them.
THREADS = max(4, joblib.cpu_count())

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def prefetched(
    function: Callable[[*Ts], T], jobs: Iterable[tuple[*Ts]], *, threads: int, depth: int
) -> Iterator[T]:
    """``function(*job)`` for each job, in order, with at most ``depth`` results held ahead.

    What was not begun is dropped when the caller stops early (an error, Ctrl-C).
    """
    source = iter(jobs)
    pending: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for job in islice(source, depth):
            pending.append(pool.submit(function, *job))
        while pending:
            yield pending.popleft().result()
            for job in islice(source, 1):
                pending.append(pool.submit(function, *job))
    finally:
        # Without waiting: if an error left this to the garbage collector, it may be in the midst
        # of a thread's start, whose lock the end of another thread would wait for, forever.
        pool.shutdown(wait=False, cancel_futures=True)
