"""Pairs of many searches through one model: earliest deadline first, some tokens at a time.

Continuous batching (Yu et al., Orca, OSDI 2022) for a model without a state: between two calls of
it the queue is looked at anew, so that no search waits for more than a call of another's, and what
several searches want goes through the model together. How many tokens a call may have follows from
how fast the model has been.
"""

from __future__ import annotations

import asyncio
import threading
import time
from bisect import insort
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from es_rerank import telemetry
from es_rerank.proxy.scoring.pace import Pace, count_tokens
from es_rerank.proxy.scoring.score_cache import ScoreCache
from es_rerank.proxy.scoring.thread import DEADLINE, JobThread
from es_rerank.ranking.score import Limits, PairModel, ScoreError

MAX_LEFTOVER = 4
"""Searches that are over, whose texts are still scored while nobody waits."""
LONGEST_CALL_S = 60.0
"""Seconds after which a call that no search waits for is taken to be late."""
JUST_LATE_S = 0.01
"""What fails so close to the end has only run out of time: the rest of the scores is good."""
FOREVER = float("inf")
Answer = NDArray[np.float64] | Exception


@dataclass(eq=False, repr=False)
class Ask:
    """One search's texts. Read by its owner, written by the queue.

    keys: of the texts in the cache. costs: their tokens, about, once it is submitted. scores: (n,),
    NaN until a text is scored. order: positions that are yet to be scored, in the order in which
    they are read; `at` is the next.
    """

    query: str
    texts: Sequence[str]
    keys: Sequence[bytes]
    scores: NDArray[np.float64]
    costs: Sequence[int] = ()
    deadline: float = FOREVER
    order: list[int] = field(default_factory=list)
    at: int = 0
    running: int = 0
    error: Exception | None = None
    done: Future[None] = field(default_factory=Future)

    @property
    def begun(self) -> bool:
        """Whether any of it was given to the model."""
        return self.at > 0

    @property
    def left(self) -> list[int]:
        """Positions that were not given to the model."""
        return self.order[self.at :]

    def missing(self) -> list[int]:
        """Positions without a score."""
        return np.flatnonzero(np.isnan(self.scores)).tolist()

    def end(self, error: Exception | None = None) -> None:
        """Nothing more is to come."""
        self.error = self.error or error
        with suppress(InvalidStateError):
            self.done.set_result(None)


Chunk = list[tuple[Ask, list[int]]]


class Slot:
    """A thread that calls the model. era: grows with each thread that was left stuck."""

    def __init__(self, name: str) -> None:
        self.thread = JobThread(name)
        self.busy = False
        self.era = 0


class Pairs:
    """The queue before one model, and the scores that it gave lately.

    together: whether texts of several searches share a call; otherwise a search is scored whole,
    one after the other. wait_s: how long a call that is not full waits for others at most, where
    they come that fast.
    """

    def __init__(
        self,
        model: PairModel,
        limits: Limits,
        cache: ScoreCache,
        together: bool = True,
        wait_s: float = 0.002,
    ) -> None:
        self.model = model
        self.cache = cache
        self.pace = Pace()
        self._limits = limits
        self._together = together
        self._wait_s = wait_s
        self._asks: list[Ask] = []
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        self._slots = [Slot(f"model {i}") for i in range(limits.calls)]
        self._gap_s = 1.0
        self._came = 0.0

    def change(self, together: bool, wait_s: float) -> None:
        """Go by other settings from now on."""
        self._together, self._wait_s = together, wait_s

    def open(self, query: str, texts: Sequence[str], keys: Sequence[bytes] | None = None) -> Ask:
        """A search's texts with the scores that are known already. Looks into the cache alone.

        keys: the texts' hashes, where they are known.
        """
        if keys is None:
            keys = self.cache.hash_texts(texts)
        scores = self.cache.find(query, keys)
        return Ask(query, texts, keys, scores)

    def is_short(self, ask: Ask, deadline: float, share: float = 1.0) -> bool:
        """Whether the texts without a score will take more than that share of the time left."""
        if self._limits.texts is not None:
            return False
        self._count(ask)
        if self._limits.whole:
            self.pace.tell(getattr(self.model, "tokens_per_s", 0.0))
        with self._lock:
            ahead = sum(
                sum(other.costs[i] for i in other.left)
                for other in self._asks
                if other.deadline <= deadline
            )
        own = sum(ask.costs[i] for i in ask.missing())
        left_s = deadline - time.monotonic()
        return self.pace.estimate_s(ahead + own) > share * left_s

    def _count(self, ask: Ask) -> None:
        if not ask.costs:
            ask.costs = count_tokens(ask.query, ask.texts, self._limits.tokens)

    def submit(self, ask: Ask, deadline: float, order: Sequence[int] | None = None) -> None:
        """Have what has no score scored by then (monotonic), in that order of positions.

        `ask.done` is set when all are, when no more will be in time, and when the model failed.
        """
        self._count(ask)
        ask.order = ask.missing() if order is None else list(order)
        ask.deadline = deadline
        if not ask.order:
            return ask.end()
        if order is None and self._limits.texts is None and not self.is_short(ask, deadline, 0.5):
            ask.order.sort(key=ask.costs.__getitem__)  # alike in length: less padding
        with self._lock:
            now = time.monotonic()
            self._gap_s = (self._gap_s + min(now - self._came, 1.0)) / 2
            self._came = now
            insort(self._asks, ask, key=lambda each: each.deadline)
            self._more.notify()
            self._start_free()
        return None

    async def wait(self, asks: Sequence[Ask]) -> None:
        """Wait until each is done or its time is over, and take what is not begun back."""
        now = time.monotonic()
        timeout = max(max(ask.deadline for ask in asks) - now, 0.0)
        futures = [asyncio.wrap_future(ask.done) for ask in asks]
        try:
            await asyncio.wait(futures, timeout=timeout)
        finally:
            for ask, future in zip(asks, futures, strict=True):
                future.cancel()
                self.leave(ask)

    def leave(self, ask: Ask) -> None:
        """Nobody waits for it any more. What is left is scored when nobody waits, or dropped."""
        with self._lock:
            if ask not in self._asks:
                return
            self._asks.remove(ask)
            leftover = sum(each.deadline == FOREVER for each in self._asks)
            if self.cache.on and len(self._slots) == 1 and leftover < MAX_LEFTOVER:
                rest = Ask(ask.query, ask.texts, ask.keys, ask.scores.copy(), ask.costs)
                rest.order = ask.left
                self._asks.append(rest)

    def overdue_s(self) -> float:
        """Seconds by which a call that runs now is late; negative when none is."""
        return max(slot.thread.overdue_s() for slot in self._slots)

    def restart(self, stuck_s: float) -> bool:
        """Leave threads that are late by more than that, and go on with others."""
        restarted = False
        for slot in self._slots:
            if slot.thread.restart(stuck_s):
                restarted = True
                with self._lock:
                    slot.era += 1
                    slot.busy = False
                    self._start_free()
        return restarted

    def close(self) -> None:
        """Let the threads go."""
        with self._lock:
            self._asks.clear()
        for slot in self._slots:
            slot.thread.close()
        self.cache.close()

    def _start_free(self) -> None:
        """Have a thread that rests make a call, if any is to be made. The lock is held."""
        for slot in self._slots:
            if self._asks and not slot.busy:
                return self._start(slot)
        return None

    def _start(self, slot: Slot) -> None:
        """Have the slot make the next call. The lock is held."""
        slot.busy = True
        deadline = min(self._asks[0].deadline, time.monotonic() + LONGEST_CALL_S)
        slot.thread.submit(partial(self._run, slot, slot.era), deadline)

    def _run(self, slot: Slot, era: int) -> None:
        """Make one call, and see to the next."""
        with self._lock:
            self._wait_for_others()
            chunk = self._take(time.monotonic())
            self._start_free()
        if chunk:
            DEADLINE.set(min(chunk[0][0].deadline, time.monotonic() + LONGEST_CALL_S))
            began = time.perf_counter()
            answers = self._call(chunk)
            seconds = time.perf_counter() - began
            with self._lock:
                self._note(chunk, answers, seconds)
            for (ask, rows), answer in zip(chunk, answers, strict=True):
                if not isinstance(answer, Exception):
                    self.cache.keep(ask.query, [ask.keys[i] for i in rows], answer)
        with self._lock:
            if slot.era != era:
                return
            slot.busy = False
            self._start_free()

    def _wait_for_others(self) -> None:
        """Give searches that come at short intervals the time to share this call."""
        if not self._together or self._limits.whole or self._gap_s >= self._wait_s:
            return
        until = time.monotonic() + self._wait_s
        while (left_s := until - time.monotonic()) > 0:
            tokens = sum(sum(ask.costs[i] for i in ask.left) for ask in self._asks)
            if tokens >= self.pace.call_tokens():
                return
            self._more.wait(left_s)

    def _take(self, now: float) -> Chunk:
        """What the next call is about. The lock is held."""
        chunk: Chunk = []
        tokens = texts = 0.0
        for ask in list(self._asks):
            if chunk and (not self._shares or ask.deadline == FOREVER):
                break
            if not chunk:
                tokens, texts = self._room(ask, now)
            rows: list[int] = []
            while ask.at < len(ask.order) and len(rows) < texts:
                row = ask.order[ask.at]
                if ask.costs[row] > tokens:
                    break
                tokens -= ask.costs[row]
                rows.append(row)
                ask.at += 1
            texts -= len(rows)
            if rows:
                ask.running += len(rows)
                chunk.append((ask, rows))
            if ask.at == len(ask.order):
                self._asks.remove(ask)
            elif not chunk:  # there is no time for another text of it
                self._asks.remove(ask)
                if not ask.running:
                    ask.end()
            else:
                break
        return chunk

    @property
    def _shares(self) -> bool:
        return self._together and not self._limits.whole and self._limits.texts is None

    def _room(self, ask: Ask, now: float) -> tuple[float, float]:
        """How many tokens and texts a call may have that begins with this search."""
        left_s = ask.deadline - now
        if left_s <= 0:
            return 0.0, 0.0
        if self._limits.whole:
            return FOREVER, FOREVER
        if self._limits.texts is not None:
            return FOREVER, self._limits.texts
        room = self.pace.room(left_s)
        if not self._together and room >= self.pace.call_tokens():
            return FOREVER, FOREVER
        # A text longer than a call's budget gets a call of its own, where there is time for it, or
        # where nobody knows.
        first = ask.costs[ask.order[ask.at]]
        if self.pace.fits(first, left_s) or (not ask.begun and self.pace.is_stale(now)):
            room = max(room, first)
        return room, FOREVER

    def _call(self, chunk: Chunk) -> list[Answer]:
        """Ask the model; what fails for several together is tried for each alone."""
        lists = [(ask.query, [ask.texts[i] for i in rows]) for ask, rows in chunk]
        telemetry.SCORE_BATCH.observe(sum(len(texts) for _, texts in lists))
        telemetry.SCORE_SEARCHES.observe(len(lists))
        try:
            answers = [
                self._check(answer, len(texts))
                for answer, (_, texts) in zip(self.model.score_lists(lists), lists, strict=True)
            ]
        except Exception as error:
            if len(chunk) == 1:
                return [error]
            return [answer for part in chunk for answer in self._call([part])]
        return answers

    def _check(self, answer: Answer, count: int) -> Answer:
        if isinstance(answer, Exception):
            return answer
        scores = np.asarray(answer, np.float64)
        good = not np.isinf(scores).any() if self._limits.whole else np.isfinite(scores).all()
        if scores.shape != (count,) or not good:
            return ScoreError(f"the model gave no {count} finite scores")
        return scores

    def _note(self, chunk: Chunk, answers: Sequence[Answer], seconds: float) -> None:
        """Hand scores out, and learn from how long they took. The lock is held."""
        if not self._limits.whole and self._limits.texts is None:
            tokens = sum(ask.costs[i] for ask, rows in chunk for i in rows)
            self.pace.learn(tokens, seconds)
            telemetry.SCORE_SPEED.set(self.pace.tokens_per_s)
        for (ask, rows), answer in zip(chunk, answers, strict=True):
            ask.running -= len(rows)
            if not isinstance(answer, Exception):
                ask.scores[rows] = answer
            elif time.monotonic() < ask.deadline - JUST_LATE_S or np.isnan(ask.scores).all():
                ask.error = answer
            if ask.error is not None and ask in self._asks:
                self._asks.remove(ask)
            if ask.error is not None or (not ask.running and ask not in self._asks):
                ask.end()


def warm(pairs: Pairs, text: str, count: int) -> None:
    """Teach it the model's speed, by texts that nobody asked for."""
    texts = [f"{i} {text}" for i in range(count)]
    pairs.model.score_lists([("warm up", texts)])  # slower than those that follow
    began = time.perf_counter()
    pairs.model.score_lists([("warm up", texts)])
    took_s = time.perf_counter() - began
    pairs.pace.learn(sum(count_tokens("warm up", texts, Limits().tokens)), took_s)
