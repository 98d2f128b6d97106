"""Prefetching: results in order, bounded work ahead, and no work after the consumer stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from whichgen.io.prefetch import prefetch


@pytest.mark.parametrize(("threads", "depth"), [(1, 1), (4, 1), (2, 7), (4, 100)])
def test_results_come_in_the_order_of_the_items(threads: int, depth: int) -> None:
    def double_slowly(i: int) -> int:
        time.sleep(0.002 * (i % 3 == 0))
        return 2 * i

    results = prefetch(double_slowly, range(30), threads=threads, depth=depth)
    assert list(results) == [2 * i for i in range(30)]
    assert list(prefetch(double_slowly, [], threads=threads, depth=depth)) == []


def test_at_most_depth_items_are_ahead() -> None:
    started = 0

    def items() -> Iterator[int]:
        nonlocal started
        for i in range(50):
            started += 1
            yield i

    for i, result in enumerate(prefetch(abs, items(), threads=3, depth=5)):
        assert result == i
        assert started <= i + 5
    assert started == 50


def test_an_error_is_raised_in_place_of_its_result() -> None:
    results = prefetch(lambda n: 6 // n, [3, 0, 2], threads=2, depth=3)
    assert next(results) == 2
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_items_that_have_not_started_are_dropped_on_close() -> None:
    started: list[int] = []
    go = threading.Event()

    def wait(i: int) -> int:
        started.append(i)
        if i:
            go.wait(5)
        return i

    results = prefetch(wait, range(100), threads=1, depth=50)
    assert next(results) == 0
    threading.Timer(0.05, go.set).start()
    results.close()
    assert len(started) <= 2


def test_closing_does_not_wait_for_threads() -> None:
    started, go = threading.Event(), threading.Event()

    def wait(i: int) -> int:
        if i:
            started.set()
            go.wait(60)
        return i

    results = prefetch(wait, [0, 1], threads=2, depth=2)
    assert next(results) == 0
    started.wait(60)
    closing = threading.Thread(target=results.close)
    closing.start()
    closing.join(20)
    still_waiting = closing.is_alive()
    go.set()
    assert not still_waiting
