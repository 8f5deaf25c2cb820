"""A thread for jobs, which can be left where it is stuck."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from functools import partial

import pytest

from es_rerank.proxy.scoring.thread import DEADLINE, MAX_LEFT, JobThread


@pytest.fixture
def jobs() -> Iterator[JobThread]:
    thread = JobThread("jobs")
    yield thread
    thread.close()


def test_jobs_are_done_in_order_on_one_thread(jobs: JobThread) -> None:
    done: list[int] = []

    def work(i: int) -> int:
        done.append(i)
        return threading.get_ident()

    futures = [jobs.submit(partial(work, i)) for i in range(20)]
    assert len({future.result(5) for future in futures}) == 1
    assert done == list(range(20))


def test_what_a_job_raises_is_its_own(jobs: JobThread) -> None:
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(ZeroDivisionError):
        jobs.submit(lambda: 1 / 0).result(5)
    with pytest.raises(RuntimeError, match="SystemExit"):
        jobs.submit(leave).result(5)
    assert jobs.submit(lambda: 7).result(5) == 7


def test_a_job_knows_its_deadline(jobs: JobThread) -> None:
    assert jobs.submit(DEADLINE.get, 12.5).result(5) == 12.5
    assert jobs.submit(DEADLINE.get).result(5) == float("inf")


def test_a_stuck_thread_is_left_and_what_waits_goes_on(jobs: JobThread) -> None:
    go, begun = threading.Event(), threading.Event()
    stuck = jobs.submit(lambda: begun.set() or go.wait(20), time.monotonic() - 3)  # type: ignore[func-returns-value]
    waiting = jobs.submit(lambda: "next", time.monotonic() + 5)
    assert begun.wait(5)
    assert jobs.overdue_s() > 2.9
    assert jobs.replace()
    assert waiting.result(5) == "next"
    assert jobs.overdue_s() < 0
    go.set()
    assert stuck.result(5) is True  # it may still end well
    assert jobs.overdue_s() < 0


def test_not_too_many_are_left(jobs: JobThread) -> None:
    go = threading.Event()
    for left in range(MAX_LEFT + 1):
        stuck = jobs.submit(lambda: go.wait(20))
        until = time.monotonic() + 5
        while not stuck.running():
            assert time.monotonic() < until
        assert jobs.replace() is (left < MAX_LEFT)
    go.set()
    until = time.monotonic() + 5
    while not jobs.replace():
        assert time.monotonic() < until
        time.sleep(0.01)
    assert jobs.submit(lambda: 1).result(5) == 1


def test_closing_cancels_what_waits(jobs: JobThread) -> None:
    go, begun = threading.Event(), threading.Event()
    first = jobs.submit(lambda: begun.set() or go.wait(20))  # type: ignore[func-returns-value]
    second = jobs.submit(lambda: 2)
    assert begun.wait(5)
    jobs.close()
    go.set()
    assert first.result(5) is True
    with pytest.raises(CancelledError):
        second.result(5)
