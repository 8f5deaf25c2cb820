"""A circuit breaker: a scorer that keeps failing is left alone for a while.

Nygard, Release It!, 2nd edition, 2018, chapter 5.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from es_rerank.config import BreakerSettings

State = Literal["closed", "half-open", "open"]
SHARE = 0.5
"""The share of failures, of all that ended in the window, from which it opens."""
KEPT = 1000
"""Outcomes looked back at, at most."""
LONGEST_REST = 8
"""How many times `open_s` a rest grows to at most; it doubles with each trial that fails."""


class Breaker:
    """Closed, it lets every search ask the scorer. Open, none; half-open, one at a time, on trial.

    It opens when `failures` or more outcomes of the last `window_s` seconds failed and they are at
    least half of them. Not for use by several threads.
    """

    def __init__(
        self, settings: BreakerSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=KEPT)
        self._era = 0  # what was admitted in another one says nothing any more
        self._rest = 1
        self._open_until: float | None = None
        self._on_trial = False

    @property
    def state(self) -> State:
        """What the next search will find."""
        if self._open_until is None:
            return "closed"
        return "open" if self._clock() < self._open_until else "half-open"

    def change(self, settings: BreakerSettings) -> None:
        """Go by other settings from now on; 0 failures close it for good."""
        self._settings = settings
        if not settings.failures:
            self._close()

    def admit(self) -> int | None:
        """Let a search ask the scorer: a pass to be given back with `record`, or None."""
        if self.state == "closed":
            return self._era
        if self.state == "open" or self._on_trial:
            return None
        self._on_trial = True
        return self._era

    def record(self, admitted: int, good: bool | None) -> None:
        """How it ended; None where that says nothing about the scorer."""
        if admitted != self._era:
            return
        if self._open_until is not None:
            self._on_trial = False
            if good:
                self._close()
            elif good is False:
                self._rest = min(2 * self._rest, LONGEST_REST)
                self._open()
        elif good is not None and self._settings.failures:
            now = self._clock()
            self._outcomes.append((now, good))
            while self._outcomes[0][0] < now - self._settings.window_s:
                self._outcomes.popleft()
            failed = sum(not good for _, good in self._outcomes)
            if failed >= self._settings.failures and failed >= SHARE * len(self._outcomes):
                self._open()

    def _open(self) -> None:
        self._era += 1
        self._outcomes.clear()
        self._open_until = self._clock() + self._rest * self._settings.open_s

    def _close(self) -> None:
        self._era += 1
        self._rest = 1
        self._on_trial = False
        self._outcomes.clear()
        self._open_until = None
