"""Call a function on items, such as image files, in background threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
Item = TypeVar("Item")


def prefetch(
    function: Callable[[Item], T], items: Iterable[Item], *, threads: int, depth: int
) -> Generator[T]:
    """Call a function on each item in threads, and yield the results in the order of the items.

    Closing the generator cancels the calls that have not started, and does not wait for the others.
    An exception that ``function`` raises for an item is raised in place of the result of this item
    and ends the generator.

    Parameters
    ----------
    function
        Function of one item.
    items
        The items.
    threads
        Number of threads.
    depth
        Maximum number of items whose calls wait, run, or have results that are not yielded yet; at
        least 1.

    Yields
    ------
    T
        Result of ``function`` for each item.
    """
    remaining_items = iter(items)
    pending_calls: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in islice(remaining_items, depth):
            pending_calls.append(pool.submit(function, item))
        while pending_calls:
            yield pending_calls.popleft().result()
            for item in islice(remaining_items, 1):
                pending_calls.append(pool.submit(function, item))
    finally:
        # Do not wait for the threads: the garbage collector may run this line while a new thread
        # holds a lock that the other threads need to end.
        pool.shutdown(wait=False, cancel_futures=True)
