"""Chunks at once: each once, an error ends the run after those begun, places without gaps."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.enrich.run.flow import Allowance, Carried, run_chunks
from es_rerank.enrich.run.record import Places, RunRecord, as_meta, read_record
from es_rerank.enrich.sources.source import Chunk, Page, Record


@given(st.lists(st.integers(1, 5), max_size=30), st.integers(0, 10_000))
def test_a_place_is_reached_when_all_before_it_is(lengths: list[int], seed: int) -> None:
    spans, start = [], 0
    for length in lengths:
        spans.append((start, start + length - 1))
        start += length
    order = list(spans)
    random.Random(seed).shuffle(order)
    places = Places(None)
    done: set[int] = set()
    for first, last in order:
        places.add(0, first, last, documents=last - first + 1, failed=1)
        done.update(range(first, last + 1))
        reached = next(number for number in range(start + 1) if number not in done) - 1
        assert places.done[0] == reached
        assert places.documents == reached + 1
    assert places.failed == len(lengths)


class Carrier:
    """Notes what it carries."""

    def __init__(self, fails: int | None = None) -> None:
        self.carried: list[int] = []
        self.allowance = Allowance()
        self.fails = fails
        self.lock = threading.Lock()

    def carry(self, chunk: Chunk) -> Carried:
        if chunk.start == self.fails:
            raise RuntimeError("no")
        with self.lock:
            self.carried.append(chunk.start)
        return Carried(1, 1)


def _load() -> Iterator[Page]:
    yield Page(())


def _chunks(count: int) -> Iterator[Chunk]:
    return (Chunk(0, n, n, _load) for n in range(count))


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_each_chunk_once(workers: int) -> None:
    carrier: Any = Carrier()
    told: list[int] = []
    run_chunks(_chunks(50), carrier, workers, lambda chunk, _: told.append(chunk.start))
    assert sorted(told) == sorted(carrier.carried) == list(range(50))


def test_an_error_ends_the_run_and_what_was_done_is_told() -> None:
    carrier: Any = Carrier(fails=20)
    told: list[int] = []
    with pytest.raises(RuntimeError, match="no"):
        run_chunks(_chunks(10_000), carrier, 3, lambda chunk, _: told.append(chunk.start))
    assert sorted(told) == sorted(carrier.carried)
    assert set(range(18)) <= set(told)
    assert len(told) < 10_000


def test_an_error_of_the_source_comes_through() -> None:
    def broken() -> Iterator[Chunk]:
        yield from _chunks(3)
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        run_chunks(broken(), Carrier(), 2, lambda *_: None)  # type: ignore[arg-type]


def test_an_allowance_is_never_exceeded() -> None:
    allowance = Allowance(10)
    records = [Record(b'"1"', None, 0, b"{}")] * 4
    taken = [len(allowance.take(records)) for _ in range(4)]
    assert (taken, allowance.is_spent) == ([4, 4, 2, 0], True)


def test_a_record_is_read_as_it_was_written() -> None:
    record = RunRecord({"index": "a"}, {"vector": "x"}, "filling", "t", "u", {0: 5, 3: -1}, 7, 1)
    meta = {"_meta": {"es_rerank": {"run": as_meta(record)}}}
    assert read_record(meta) == record
    others: list[dict[str, Any]] = [
        {},
        {"_meta": {}},
        {"_meta": {"es_rerank": {"run": {"state": "filling"}}}},
    ]
    assert all(read_record(other) is None for other in others)
