"""Searches while the cluster and the scorer break at random: nothing fails that need not.

Budget: 100,000 searches, about 12 minutes on two cores; the short one 1,500 in 15 s.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.catalogue import raw_hits
from tests.soak import shaky
from tests.soak.client import Answer, Client
from tests.soak.cluster import ERRORS, HITS, INDEX, SOURCES, UNREADABLE, fate, list_documents
from tests.soak.process import Running, faulty_cluster, proxy

pytestmark = pytest.mark.live

SEED = 20
CLIENTS = 16
WINDOW = 40
TIMEOUT_S = 1.0
SLACK_S = 10.0  # of a machine that is busy with other things
KEPT_S = 20.0
SETTINGS = {
    "MODEL__KIND": "plugin",
    "MODEL__NAME": "shaky",
    "RERANK__RANK_WINDOW_SIZE": str(WINDOW),
    "RERANK__TIMEOUT_MS": "200",
    "RERANK__ORDER_CACHE_S": str(KEPT_S),
    "UPSTREAM__TIMEOUT_S": str(TIMEOUT_S),
}
GROWTH = 1.03
UNREACHABLE = (502, "upstream_unreachable_exception")
BROKEN = {
    "closed": UNREACHABLE,
    "reset": UNREACHABLE,
    "garbage": (502, "upstream_broken_answer_exception"),
    "cut": (502, "upstream_broken_answer_exception"),
    "stalled": (504, "upstream_timeout_exception"),
    "stalled-within": (504, "upstream_timeout_exception"),
}


class Shopper:
    """A client that pages through lists, page by uneven page, and checks every answer."""

    def __init__(self, number: int, url: str, seen: Counter[str]) -> None:
        self._random = random.Random(f"{SEED}-{number}")
        self._number = number
        self._client = Client(url)
        self._seen = seen
        self._lists = 0
        self.asked = 0
        self.unanswered: list[str] = []
        self.times: list[float] = []

    async def shop(self, searches: int) -> None:
        """Page through one list after the other until there were so many searches."""
        while self.asked < searches:
            await self._read_list()
        await self._client.close()

    async def _read_list(self) -> None:
        """Every page of one list holds other documents, and all of them hold all."""
        self._lists += 1
        words = f"{self._random.choice(['red', 'warm light'])} list {self._number} {self._lists}"
        engines = list_documents(words)
        found: list[int] = []
        whole_until = time.monotonic() + KEPT_S
        while len(found) < HITS:
            size = self._random.randint(1, 25)
            start = len(found)
            if start > 1 and self._random.random() < 0.1:
                # Back to what was shown; not to the first page, which ranks a fallen list anew.
                start = self._random.randrange(1, start)
                size = min(size, len(found) - start)
            page = await self._read_page(words, start, size)
            if time.monotonic() > whole_until:
                self._seen["list given up, the machine is too slow"] += 1
                return
            if start < len(found):
                assert page == found[start : start + size], words
            else:
                assert len(page) == min(size, HITS - start), words
                found += page
        assert sorted(found) == sorted(engines), words
        assert set(found[:WINDOW]) == set(engines[:WINDOW]), words
        assert found[WINDOW:] == engines[WINDOW:], words
        self._seen["list whole" if found == engines else "list whole and reranked"] += 1

    async def _read_page(self, words: str, start: int, size: int) -> list[int]:
        """Ask for a page until it comes."""
        body = json.dumps(
            {"query": {"match": {"title": words}}, "from": start, "size": size}
        ).encode()
        while True:
            self.asked += 1
            opaque = f"{self._number}-{self.asked}"
            began = time.perf_counter()
            answer = await self._client.ask("POST", f"/{INDEX}/_search", body, x_opaque_id=opaque)
            seconds = time.perf_counter() - began
            self._seen[answer.mark or f"status {answer.status}"] += 1
            if self._check(answer, opaque, start >= WINDOW, seconds):
                return [self._read_hit(hit) for hit in raw_hits(answer.body)]

    def _check(self, answer: Answer, opaque: str, through: bool, seconds: float) -> bool:
        """Whether a page came; that none came has to be the cluster's fault, and to be said so."""
        kind = fate(SEED, opaque)
        self._seen[f"fate {kind}"] += 1
        if kind in ERRORS and (answer.status, answer.body) == ERRORS[kind]:
            return False
        if answer.status in {502, 503, 504}:
            failure = (answer.status, read_failure(answer))
            if failure == UNREACHABLE:  # it may be that nobody listened
                self.unanswered.append(opaque)
            else:
                assert failure == BROKEN.get(kind), (kind, answer)
            assert seconds < 2 * TIMEOUT_S + SLACK_S
            return False
        if kind in BROKEN:
            # Streamed on, an answer that breaks off must not look whole.
            assert kind in {"cut", "stalled-within"}, (kind, answer)
            assert through, (kind, answer)
            assert not answer.whole
            return False
        assert answer.whole, (kind, answer)
        assert answer.status == 200, (kind, answer)
        if kind == "unreadable":
            assert answer.body == UNREADABLE
            return False
        self.times.append(seconds)
        return True

    def _read_hit(self, hit: dict[str, bytes]) -> int:
        number = int(json.loads(hit["_id"]))
        assert hit["_source"] == SOURCES[number]
        return number


def read_failure(answer: Answer) -> str:
    """The type of the proxy's own error; AssertionError where it is not shaped as the engines'."""
    value: dict[str, Any] = json.loads(answer.body)
    assert value.keys() == {"error", "status"}
    assert value["status"] == answer.status
    assert {"root_cause", "type", "reason"} <= value["error"].keys()
    assert answer.headers["content-type"] == "application/json"
    return str(value["error"]["type"])


async def watch(process: Running, samples: list[tuple[int, int]], every_s: float) -> None:
    """Note the process's memory and descriptors now and then."""
    while True:
        samples.append((process.memory(), process.descriptors()))
        await asyncio.sleep(every_s)


def check_flat(samples: list[tuple[int, int]]) -> str:
    """Neither memory nor descriptors grow in the second half. Returns what is to be reported."""
    half = len(samples) // 2
    memory = [sample[0] for sample in samples[half:]]
    quarter = max(len(memory) // 4, 1)
    before, after = statistics.median(memory[:quarter]), statistics.median(memory[-quarter:])
    descriptors = [sample[1] for sample in samples]
    assert after <= GROWTH * before, " ".join(f"{s[0] / 2**20:.1f}" for s in samples)
    assert max(descriptors[half:]) <= max(descriptors[:half]) + CLIENTS, descriptors
    return (
        f"memory {before / 2**20:.1f} -> {after / 2**20:.1f} MiB over the second half, "
        f"descriptors at most {max(descriptors)}, at the end {descriptors[-1]}"
    )


@pytest.mark.parametrize(
    "searches",
    [1_500, pytest.param(100_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])],
)
def test_no_search_fails_that_the_cluster_answered(tmp_path: Path, searches: int) -> None:
    shaky.install(tmp_path)
    seen: Counter[str] = Counter()
    samples: list[tuple[int, int]] = []

    async def run(url: str, process: Running) -> list[Shopper]:
        watching = asyncio.ensure_future(watch(process, samples, 0.25 if searches < 9_000 else 2))
        shoppers = [Shopper(number, url, seen) for number in range(CLIENTS)]
        await asyncio.gather(*(shopper.shop(searches // CLIENTS) for shopper in shoppers))
        watching.cancel()
        await asyncio.sleep(0.5)
        samples.append((process.memory(), process.descriptors()))
        return shoppers

    with (
        faulty_cluster(SEED, tmp_path) as cluster,
        proxy(cluster.url, tmp_path, SETTINGS) as served,
    ):
        began = time.monotonic()
        shoppers = asyncio.run(run(served.url, served))
        took_s = time.monotonic() - began
        answered = set(cluster.log.read_text().split())
    report(seen, shoppers, took_s)
    for shopper in shoppers:
        assert not answered.intersection(shopper.unanswered)
    for kind in (*BROKEN, *ERRORS, "slow", "unreadable"):
        assert seen[f"fate {kind}"], f"no search met {kind}"
    assert seen["list whole and reranked"] > seen["list whole"]
    if searches >= 9_000:
        print(check_flat(samples))
        assert seen["fallback; reason=ranking-error"]
        assert seen["fallback; reason=deadline"]


def report(seen: Counter[str], shoppers: list[Shopper], took_s: float) -> None:
    """Say what happened, how often and how fast; `pytest -s` shows it."""
    asked = sum(shopper.asked for shopper in shoppers)
    times = sorted(1000 * t for shopper in shoppers for t in shopper.times)
    print(f"\n{asked} searches in {took_s:.0f} s")
    print(f"p50 {times[len(times) // 2]:.1f} ms, p99 {times[len(times) * 99 // 100]:.1f} ms")
    for name, count in sorted(seen.items()):
        print(f"{count:8} {name}")
