"""One thread for one scorer: jobs in order, each with its time; a thread that is stuck is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")
Job = tuple[Callable[[], Any], "Future[Any]", float]
DEADLINE: ContextVar[float] = ContextVar("DEADLINE", default=float("inf"))
"""When the job that runs here must be done, as time.monotonic() has it."""
MAX_LEFT = 4
"""Threads stuck at once at most; a thread cannot be ended from outside."""


class JobThread:
    """Runs jobs one after the other on a daemon thread, which never keeps the process alive."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._left: list[threading.Thread] = []
        self._running_until = float("inf")
        self._thread = self._start()

    def submit(self, work: Callable[[], Result], deadline: float = float("inf")) -> Future[Result]:
        """Queue a job. A future that is cancelled before its turn is not begun."""
        future: Future[Result] = Future()
        self._jobs.put((work, future, deadline))
        return future

    def overdue_s(self) -> float:
        """Seconds by which the job that runs now is past its deadline; negative when in time."""
        return time.monotonic() - self._running_until

    def restart(self, stuck_s: float) -> bool:
        """Leave the thread alone if its job is late by more than that. Returns whether it was."""
        return self.overdue_s() > stuck_s and self.replace()

    def replace(self) -> bool:
        """Leave the stuck thread alone and go on with what waits on a new one.

        Returns False when too many are stuck already.
        """
        self._left = [thread for thread in self._left if thread.is_alive()]
        if len(self._left) >= MAX_LEFT:
            return False
        self._left.append(self._thread)
        waiting, self._jobs = self._jobs, SimpleQueue()
        while not waiting.empty():
            self._jobs.put(waiting.get())
        waiting.put(None)
        self._thread = self._start()
        return True

    def close(self) -> None:
        """Let the thread end: what it does now is finished, what waits is cancelled."""
        waiting, self._jobs = self._jobs, SimpleQueue()
        while not waiting.empty():
            if (job := waiting.get()) is not None:
                job[1].cancel()
        waiting.put(None)

    def _start(self) -> threading.Thread:
        self._running_until = float("inf")
        thread = threading.Thread(
            target=self._run, args=(self._jobs,), name=self._name, daemon=True
        )
        thread.start()
        return thread

    def _run(self, jobs: SimpleQueue[Job | None]) -> None:
        while (job := jobs.get()) is not None:
            work, future, deadline = job
            if not future.set_running_or_notify_cancel():
                continue
            self._mark(jobs, deadline)
            DEADLINE.set(deadline)
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)
            except BaseException as error:  # a scorer that exits must not take the thread along
                future.set_exception(RuntimeError(f"the scorer raised {type(error).__name__}"))
            self._mark(jobs, float("inf"))
            del job, work, future  # or the last window stays in memory while nothing comes

    def _mark(self, jobs: SimpleQueue[Job | None], deadline: float) -> None:
        if jobs is self._jobs:
            self._running_until = deadline
