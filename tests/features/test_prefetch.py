"""Work ahead in threads: in order, so much and no more, dropped when nobody waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from whichgen.features.prefetch import prefetched


@pytest.mark.parametrize(("threads", "depth"), [(1, 1), (4, 1), (2, 7), (4, 100)])
def test_results_come_in_the_order_of_the_jobs(threads: int, depth: int) -> None:
    def slow_first(i: int, j: int) -> int:
        time.sleep(0.002 * (i % 3 == 0))
        return i * j

    jobs = [(i, 2) for i in range(30)]
    assert list(prefetched(slow_first, jobs, threads=threads, depth=depth)) == [
        2 * i for i in range(30)
    ]
    assert list(prefetched(slow_first, [], threads=threads, depth=depth)) == []


def test_no_more_than_the_depth_is_held_ahead() -> None:
    taken = 0

    def jobs() -> Iterator[tuple[int]]:
        nonlocal taken
        for i in range(50):
            taken += 1
            yield (i,)

    for i, result in enumerate(prefetched(abs, jobs(), threads=3, depth=5)):
        assert result == i
        assert taken <= i + 5
    assert taken == 50


def test_an_error_comes_in_its_job_s_place() -> None:
    results = prefetched(lambda n: 6 // n, [(3,), (0,), (2,)], threads=2, depth=3)
    assert next(results) == 2
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_what_was_not_begun_is_dropped_when_the_caller_stops() -> None:
    begun: list[int] = []
    go = threading.Event()

    def wait(i: int) -> int:
        begun.append(i)
        if i:
            go.wait(5)
        return i

    results = prefetched(wait, [(i,) for i in range(100)], threads=1, depth=50)
    assert next(results) == 0
    threading.Timer(0.05, go.set).start()
    results.close()
    assert len(begun) <= 2


def test_closing_waits_for_no_thread() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def job(i: int) -> int:
        if i:
            begun.set()
            go_on.wait(60)
        return i

    results = prefetched(job, [(0,), (1,)], threads=2, depth=2)
    assert next(results) == 0
    begun.wait(60)
    closing = threading.Thread(target=results.close)  # type: ignore[attr-defined]
    closing.start()
    closing.join(20)
    waits = closing.is_alive()
    go_on.set()
    assert not waits
