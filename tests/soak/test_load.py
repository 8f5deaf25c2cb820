"""Sixty-four clients on mixed traffic against a real OpenSearch: no error, no growth.

Budget: SOAK_SECONDS (600 by default); the short one 6 s with 16 clients.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from es_rerank.engine.node import Node
from tests.proxy.catalogue import WORDS, load, make_sources, request
from tests.soak import shaky
from tests.soak.client import Client
from tests.soak.mutate import SOAK_S
from tests.soak.process import Running, proxy

SEED = 20
CLIENTS = 64
MEGABYTE = 2**20
GROWTH = 1.03
PAUSE_S = 0.3
"""A client rests so long between two requests, on average."""
SETTINGS = {
    "MODEL__KIND": "plugin",
    "MODEL__NAME": "shaky",
    "RERANK__RANK_WINDOW_SIZE": "50",
    "RERANK__TIMEOUT_MS": "1000",
    "RERANK__ORDER_CACHE_S": "5",
}


@pytest.fixture
def served(opensearch: Node, index_name: str, tmp_path: Path) -> Iterator[Running]:
    load(opensearch.url, index_name, make_sources(2000), number_of_shards=2)
    big = {"mappings": {"dynamic": False}, "settings": {"number_of_replicas": 0}}
    assert request(opensearch.url, "PUT", f"/{index_name}-big", big).status == 200
    text = {"text": "".join(random.Random(SEED).choices("abcdefgh ", k=MEGABYTE))}
    assert request(opensearch.url, "PUT", f"/{index_name}-big/_doc/1", text).status == 201
    shaky.install(tmp_path)
    with proxy(opensearch.url, tmp_path, SETTINGS) as running:
        yield running


class Visitor:
    """A client that does now one thing, now another."""

    def __init__(self, number: int, url: str, index: str, until: float) -> None:
        self._random = random.Random(f"{SEED} {number}")
        self._url, self._index, self._until = url, index, until
        self._client = Client(url)
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.marks: Counter[str] = Counter()

    async def visit(self) -> None:
        """Go on until the time is over. Raises AssertionError at the first error."""
        loop = asyncio.get_running_loop()
        errands: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            *((30, self.search), (8, self.msearch), (8, self.bulk), (12, self.get)),
            *((6, self.relay), (2, self.read_slowly), (4, self.leave)),
        ]
        weights = [weight for weight, _ in errands]
        while loop.time() < self._until:
            await asyncio.sleep(self._random.expovariate(1 / PAUSE_S))
            errand = self._random.choices([do for _, do in errands], weights)[0]
            began = loop.time()
            async with asyncio.timeout(60):
                await errand()
            self.seconds[errand.__name__].append(loop.time() - began)
        await self._client.close()

    def _body(self) -> dict[str, Any]:
        words = " ".join(self._random.sample(WORDS, 2))
        body: dict[str, Any] = {"query": {"match": {"title": words}}}
        body |= self._random.choice(
            [
                {},
                {"size": 20, "from": self._random.choice([0, 20, 40, 60])},
                {"aggs": {"b": {"terms": {"field": "brand"}}}},
                {"_source": False, "fields": ["brand"]},
                {"sort": [{"price": "asc"}]},
                {"highlight": {"fields": {"title": {}}}},
                {"size": 0},
                {"ext": {"es_rerank": {"diversity": 0.5, "explain": True}}},
                {"ext": {"es_rerank": {"crowding": [{"field": "brand", "max_count": 2}]}}},
            ]
        )
        return body

    async def _ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
        answer = await self._client.ask(method, target, body, **headers)
        assert answer.whole
        assert answer.status in {200, 201}, answer
        if answer.mark:
            self.marks[answer.mark] += 1
        return answer.body

    async def search(self) -> None:
        body = self._body()
        answer = json.loads(
            await self._ask("POST", f"/{self._index}/_search", json.dumps(body).encode())
        )
        assert len(answer["hits"]["hits"]) <= body.get("size", 10)
        assert answer["_shards"]["failed"] == 0

    async def msearch(self) -> None:
        lines = []
        for _ in range(3):
            lines += ["{}", json.dumps(self._body() | {"ext": {}})]
        body = ("\n".join(lines) + "\n").encode()
        answer = json.loads(
            await self._ask(
                "POST", f"/{self._index}/_msearch", body, content_type="application/x-ndjson"
            )
        )
        assert [one["status"] for one in answer["responses"]] == [200] * 3

    async def bulk(self) -> None:
        lines = []
        for _ in range(5):
            lines += [
                json.dumps({"index": {"_id": str(self._random.randrange(500))}}),
                json.dumps({"title": " ".join(self._random.choices(WORDS, k=4))}),
            ]
        body = ("\n".join(lines) + "\n").encode()
        answer = json.loads(
            await self._ask(
                "POST", f"/{self._index}-bulk/_bulk", body, content_type="application/x-ndjson"
            )
        )
        assert not answer["errors"], answer

    async def get(self) -> None:
        answer = await self._ask("GET", f"/{self._index}/_doc/{self._random.randrange(2000)}")
        assert json.loads(answer)["found"]

    async def relay(self) -> None:
        assert len(await self._ask("GET", f"/{self._index}-big/_doc/1")) > MEGABYTE

    async def read_slowly(self) -> None:
        client = Client(self._url)
        reader, _ = await client.send("GET", f"/{self._index}-big/_source/1", b"")
        received = b""
        while len(received) < MEGABYTE:
            part = await reader.read(65_536)
            assert part
            received += part
            await asyncio.sleep(0.05)
        await client.close()

    async def leave(self) -> None:
        client = Client(self._url)
        target = self._random.choice([f"/{self._index}/_search", f"/{self._index}-big/_doc/1"])
        reader, _ = await client.send("GET", target, b"")
        if self._random.random() < 0.5:
            await reader.read(1000)
        await client.close()


@pytest.mark.parametrize(
    ("clients", "seconds"),
    [
        (16, 6.0),
        pytest.param(CLIENTS, SOAK_S, marks=[pytest.mark.soak, pytest.mark.timeout(7200)]),
    ],
)
def test_mixed_traffic(served: Running, index_name: str, clients: int, seconds: float) -> None:
    samples: list[int] = []

    async def run() -> list[Visitor]:
        until = asyncio.get_running_loop().time() + seconds
        visitors = [Visitor(i, served.url, index_name, until) for i in range(clients)]

        async def watch() -> None:
            while True:
                samples.append(served.memory())
                await asyncio.sleep(seconds / 100)

        watching = asyncio.ensure_future(watch())
        await asyncio.gather(*(visitor.visit() for visitor in visitors))
        watching.cancel()
        return visitors

    visitors = asyncio.run(run())
    times: dict[str, list[float]] = defaultdict(list)
    marks: Counter[str] = Counter()
    for visitor in visitors:
        marks.update(visitor.marks)
        for name, seconds_taken in visitor.seconds.items():
            times[name] += seconds_taken
    report(times, marks, samples, seconds)
    assert set(times) == {"search", "msearch", "bulk", "get", "relay", "read_slowly", "leave"}
    if clients == CLIENTS:
        before, after = second_half(samples)
        assert after < GROWTH * before, [sample // MEGABYTE for sample in samples]


def second_half(samples: list[int]) -> tuple[float, float]:
    """The memory where the second half begins, and where it ends: medians of an eighth of all."""
    half, eighth = len(samples) // 2, len(samples) // 8
    return statistics.median(samples[half : half + eighth]), statistics.median(samples[-eighth:])


def report(
    times: dict[str, list[float]], marks: Counter[str], samples: list[int], seconds: float
) -> None:
    """Say how many, how fast and how large; `pytest -s` shows it."""
    total = sum(map(len, times.values()))
    print(f"\n{total} requests in {seconds:.0f} s, {total / seconds:.0f}/s")
    for name, taken in sorted(times.items()):
        ordered = sorted(1000 * one for one in taken)
        p50, p99 = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
        print(f"{name:12} {len(ordered):7}  p50 {p50:8.1f} ms  p99 {p99:8.1f} ms")
    before, after = second_half(samples)
    print(f"memory {samples[0] / MEGABYTE:.1f} MiB at first, {before / MEGABYTE:.1f} at half time,")
    print(f"{after / MEGABYTE:.1f} at the end ({100 * (after / before - 1):+.1f} %)")
    print(dict(marks.most_common()))
