"""A scorer that breaks at random, before real engines: every list holds every document once.

Budget: 2,000 searches on each engine, about a minute; the short one 150.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from es_rerank.engine.node import Node
from tests.proxy.catalogue import WORDS, load, make_sources, raw_hits, request
from tests.soak import shaky
from tests.soak.client import Client
from tests.soak.process import Running, proxy

SEED = 20
CLIENTS = 8
WINDOW = 40
DOCUMENTS = 150
SETTINGS = {
    "MODEL__KIND": "plugin",
    "MODEL__NAME": "shaky",
    "RERANK__RANK_WINDOW_SIZE": str(WINDOW),
    "RERANK__TIMEOUT_MS": "200",
}


@pytest.fixture
def served(engine: Node, index_name: str, tmp_path: Path) -> Iterator[Running]:
    load(engine.url, index_name, make_sources(DOCUMENTS))
    shaky.install(tmp_path)
    with proxy(engine.url, tmp_path, SETTINGS) as running:
        yield running


class Shopper:
    """A client that pages through lists that are all its own."""

    def __init__(self, number: int, direct: str, url: str, index: str) -> None:
        self._random = random.Random(f"{SEED} {number}")
        self._number, self._direct, self._index = number, direct, index
        self._client = Client(url)
        self.marks: Counter[str] = Counter()
        self.lists = 0

    async def shop(self, searches: int) -> None:
        """Page until there were so many searches."""
        while sum(self.marks.values()) < searches:
            await self._read_list()
        await self._client.close()

    async def _read_list(self) -> None:
        self.lists += 1
        words = " ".join([*self._random.sample(WORDS, 3), f"zq{self._number}q{self.lists}"])
        body: dict[str, Any] = {"query": {"match": {"title": words}}}
        path = f"/{self._index}/_search"
        engines = await asyncio.to_thread(
            request, self._direct, "POST", path, {**body, "size": DOCUMENTS}
        )
        expected = [(hit["_id"], hit["_source"]) for hit in raw_hits(engines.data)]
        found: list[tuple[bytes, bytes]] = []
        while len(found) < min(len(expected), WINDOW + 20):
            page = {"from": len(found), "size": self._random.randint(5, 25)}
            answer = await self._client.ask("POST", path, json.dumps({**body, **page}).encode())
            assert answer.status == 200, answer
            assert answer.whole
            self.marks[answer.mark] += 1
            found += [(hit["_id"], hit["_source"]) for hit in raw_hits(answer.body)]
        assert len(set(found)) == len(found), words
        assert set(found[:WINDOW]) == set(expected[:WINDOW]), words
        assert found[WINDOW:] == expected[WINDOW : len(found)], words


@pytest.mark.parametrize(
    "searches", [150, pytest.param(2_000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]
)
def test_no_list_loses_or_repeats_a_document(
    engine: Node, served: Running, index_name: str, searches: int
) -> None:
    shoppers = [Shopper(i, engine.url, served.url, index_name) for i in range(CLIENTS)]

    async def run() -> None:
        await asyncio.gather(*(shopper.shop(searches // CLIENTS) for shopper in shoppers))

    asyncio.run(run())
    marks: Counter[str] = Counter()
    for shopper in shoppers:
        marks.update(shopper.marks)
    lists = sum(shopper.lists for shopper in shoppers)
    print(f"\n{sum(marks.values())} searches, {lists} lists: {dict(marks.most_common())}")
    assert marks["applied"] > searches / 4
    assert any(mark.startswith("fallback") for mark in marks) or searches < 1_000
