"""The circuit breaker, by a clock of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.config import BreakerSettings
from es_rerank.proxy.scoring.breaker import LONGEST_REST, Breaker

SETTINGS = BreakerSettings(failures=3, window_s=10, open_s=5)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def look(breaker: Breaker) -> str:
    return breaker.state


def end(breaker: Breaker, *goods: bool | None) -> None:
    for good in goods:
        admitted = breaker.admit()
        assert admitted is not None
        breaker.record(admitted, good)


def test_it_opens_after_so_many_failures(clock: Clock) -> None:
    breaker = Breaker(SETTINGS, clock)
    end(breaker, False, False)
    assert look(breaker) == "closed"
    end(breaker, False)
    assert (look(breaker), breaker.admit()) == ("open", None)


def test_failures_among_many_successes_do_not_open_it(clock: Clock) -> None:
    breaker = Breaker(SETTINGS, clock)
    end(breaker, *[True] * 10, *[False] * 9)
    assert look(breaker) == "closed"
    end(breaker, False)
    assert look(breaker) == "open"


def test_old_failures_are_forgotten(clock: Clock) -> None:
    breaker = Breaker(SETTINGS, clock)
    end(breaker, False, False)
    clock.now += 10.1
    end(breaker, False, False)
    assert look(breaker) == "closed"


def test_what_says_nothing_does_not_count(clock: Clock) -> None:
    breaker = Breaker(SETTINGS, clock)
    end(breaker, *[None] * 20, False, False)
    assert look(breaker) == "closed"


def test_one_search_at_a_time_is_on_trial(clock: Clock) -> None:
    breaker = Breaker(SETTINGS, clock)
    end(breaker, *[False] * 3)
    clock.now += 5
    assert look(breaker) == "half-open"
    trial = breaker.admit()
    assert trial is not None
    assert breaker.admit() is None
    breaker.record(trial, None)  # it said nothing: the next one is on trial
    trial = breaker.admit()
    assert trial is not None
    breaker.record(trial, True)
    assert look(breaker) == "closed"
    end(breaker, False, False)
    assert look(breaker) == "closed"


def test_each_trial_that_fails_doubles_the_rest(clock: Clock) -> None:
    breaker = Breaker(SETTINGS, clock)
    end(breaker, *[False] * 3)
    for factor in (1, 2, 4, 8, LONGEST_REST):
        clock.now += factor * 5 - 0.1
        assert look(breaker) == "open"
        clock.now += 0.2
        end(breaker, False)
        assert look(breaker) == "open"


def test_what_was_admitted_before_it_opened_says_nothing_afterwards(clock: Clock) -> None:
    breaker = Breaker(SETTINGS, clock)
    early = breaker.admit()
    assert early is not None
    end(breaker, *[False] * 3)
    clock.now += 5
    breaker.record(early, True)
    assert look(breaker) == "half-open"
    trial = breaker.admit()
    breaker.record(early, False)
    assert breaker.admit() is None
    assert trial is not None
    breaker.record(trial, True)
    breaker.record(early, False)
    assert look(breaker) == "closed"


def test_zero_failures_switch_it_off(clock: Clock) -> None:
    breaker = Breaker(SETTINGS, clock)
    end(breaker, *[False] * 3)
    breaker.change(BreakerSettings(failures=0))
    assert look(breaker) == "closed"
    end(breaker, *[False] * 50)
    assert look(breaker) == "closed"


@given(st.lists(st.tuples(st.sampled_from([True, False, None]), st.floats(0, 20)), max_size=60))
def test_it_never_stays_shut_for_good(steps: list[tuple[bool | None, float]]) -> None:
    clock = Clock()
    breaker = Breaker(SETTINGS, clock)
    for good, pause in steps:
        admitted = breaker.admit()
        if admitted is not None:
            breaker.record(admitted, good)
        clock.now += pause
    clock.now += LONGEST_REST * SETTINGS.open_s
    end(breaker, True)
    assert look(breaker) == "closed"
