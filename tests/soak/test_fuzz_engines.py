"""Bent searches straight at a real engine and through the proxy: the same status, the same kind.

Budget: half of SOAK_SECONDS (600 by default), a quarter for each engine; the short one 4 s each.
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
from tests.proxy.catalogue import load, make_sources, request
from tests.soak import shaky
from tests.soak.client import Answer, Client
from tests.soak.corpus import NAMES, make_body, make_query_string
from tests.soak.mutate import SOAK_S, bend_bytes, bend_value, examples, write_json
from tests.soak.process import Running, proxy

SEED = 20
ASK_S = 30.0
SETTINGS = {
    "MODEL__KIND": "plugin",
    "MODEL__NAME": "shaky",
    "RERANK__RANK_WINDOW_SIZE": "50",
    "RERANK__TIMEOUT_MS": "300",
}
OF_THE_DOCUMENT = {"fields", "highlight", "inner_hits", "_ignored"}
OWN_REFUSAL = "[es_rerank]"
TYPES = [
    "application/json",
    "application/json; charset=UTF-8",
    "text/plain",
    "application/x-ndjson",
]


@pytest.fixture
def served(engine: Node, index_name: str, tmp_path: Path) -> Iterator[Running]:
    load(engine.url, index_name, make_sources(120), number_of_shards=2)
    shaky.install(tmp_path)
    with proxy(engine.url, tmp_path, SETTINGS) as running:
        yield running


def make_search(rng: random.Random, index: str) -> tuple[str, str, bytes, dict[str, str]]:
    """A bent search, or several in one: method, target, body, headers."""
    several = rng.random() < 0.15
    bodies = [make_body(rng) for _ in range(rng.randint(1, 3) if several else 1)]
    written = []
    for value in bodies:
        bent: Any = value
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            bent = bend_value(rng, bent, NAMES)
        text = write_json(rng, bent)
        written.append(text if not several else text.replace(b"\n", b" "))
    query = make_query_string(rng).decode()
    if several:
        body = b"".join(
            rng.choice([b"{}", b"", b'{"index":"%s"}' % index.encode()]) + b"\n" + text + b"\n"
            for text in written
        )
        endpoint = "_msearch"
    else:
        body, endpoint = written[0], "_search"
    if rng.random() < 0.3:
        body = bend_bytes(rng, body)
    kind = rng.choice(TYPES) if rng.random() < 0.1 else ("application/json")
    headers = {"content_type": kind}
    return rng.choice(["GET", "POST"]), f"/{index}/{endpoint}?{query}", body, headers


def describe(answer: Answer) -> tuple[Any, ...]:
    """What kind of answer it is: status, keys, the error's type."""
    try:
        value = json.loads(answer.body)
    except ValueError:
        return answer.status, "no JSON", len(answer.body) > 0
    if not isinstance(value, dict):
        return answer.status, type(value).__name__
    if "responses" in value:
        return answer.status, [describe_value(one) for one in value["responses"]]
    return answer.status, *describe_value(value)


def describe_value(value: dict[str, Any]) -> tuple[Any, ...]:
    error = value.get("error")
    if isinstance(error, dict):
        return "error", error.get("type"), value.get("status")
    hits = value.get("hits")
    listed = hits.get("hits") if isinstance(hits, dict) else None
    shown = None
    if isinstance(listed, list):  # others are shown; which of their parts are depends on them
        shown = len(listed), {key for hit in listed for key in hit if key not in OF_THE_DOCUMENT}
    return sorted(value), sorted(hits) if isinstance(hits, dict) else None, shown


def refused_here(answer: Answer) -> bool:
    """Whether our own block was wrong, of which the engine knows nothing."""
    return answer.status == 400 and OWN_REFUSAL.encode() in answer.body


async def compare(straight: Client, through: Client, rng: random.Random, index: str) -> str:
    """Ask both the same. Returns the mark. Raises AssertionError where they differ in kind."""
    method, target, body, headers = make_search(rng, index)
    bare = b"es_rerank" not in body
    async with asyncio.timeout(ASK_S):
        answer = await through.ask(method, target, body, **headers)
        assert answer.whole
        if not bare:  # the engine would refuse what is ours
            assert answer.status < 500 or b"es_rerank" not in answer.body, answer
            return "block"
        direct = await straight.ask(method, target, body, **headers)
        if describe(answer) != describe(direct):  # a mapping that is new, a script limit: once more
            answer = await through.ask(method, target, body, **headers)
            direct = await straight.ask(method, target, body, **headers)
    assert describe(answer) == describe(direct), (answer, direct)
    return answer.mark or f"status {answer.status}"


@pytest.mark.parametrize(
    "seconds",
    [4.0, pytest.param(SOAK_S / 4, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])],
)
def test_bent_searches_fare_alike(
    engine: Node, served: Running, index_name: str, seconds: float
) -> None:
    seen: Counter[str] = Counter()

    async def run() -> int:
        async with Client(engine.url) as straight, Client(served.url) as through:
            for number in examples(seconds):
                rng = random.Random(f"{SEED} {number}")
                try:
                    seen[await compare(straight, through, rng, index_name)] += 1
                except BaseException as error:
                    sent = make_search(random.Random(f"{SEED} {number}"), index_name)
                    error.add_note(f"example {number}: {sent}")
                    raise
        return number

    number = asyncio.run(run())
    print(f"\n{number + 1} searches: {dict(seen.most_common())}")
    assert seen["applied"] + seen["applied; reason=no-query-text"] > number / 50
    assert request(engine.url, "GET", "/").status == 200
