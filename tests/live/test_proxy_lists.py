"""The pages of one list on real engines, while documents come and go and the model errs."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from es_rerank.engine.node import Node
from tests.proxy.catalogue import load, make_sources, request
from tests.proxy.wire import proxy_settings, reranker, serve_app

pytestmark = pytest.mark.live

INDEX = f"lists-{uuid.uuid4().hex[:8]}"
WINDOW = 40
NEW = '{"title":"red shoes","brand":"Acme"}'


@dataclass
class Stand:
    direct: str
    proxied: str
    fresh: int = 1000


@pytest.fixture(scope="module")
def stand(engine: Node) -> Iterator[Stand]:
    """A model whose scores are drawn anew each time: only a kept order can make pages agree."""
    rng = random.Random(5)
    rerank = {"rank_window_size": WINDOW, "order_cache_s": 600}
    with reranker(lambda query, text: rng.random()) as model:
        tables = proxy_settings(engine.url, model.url, rerank=rerank)
        with serve_app(tables) as (proxied, _):
            yield Stand(engine.url, proxied)


@pytest.fixture
def index(stand: Stand) -> Iterator[str]:
    name = f"{INDEX}-{uuid.uuid4().hex[:8]}"
    load(stand.direct, name, make_sources(60, seed=3), number_of_shards=2)
    yield name
    request(stand.direct, "DELETE", f"/{name}")


def ask(url: str, index: str, **body: Any) -> list[str]:
    answer = request(url, "POST", f"/{index}/_search", body)
    assert answer.status == 200, answer.data
    mark = answer.headers.get("X-Es-Rerank", "applied")
    assert mark.split(";")[0] in {"applied", "skipped"}, mark
    return [hit["_id"] for hit in answer.json()["hits"]["hits"]]


QUERIES: list[dict[str, Any]] = [
    {"match": {"title": "red running shoes"}},
    {"multi_match": {"query": "waterproof winter boots", "fields": ["title^2", "description"]}},
]


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    query=st.sampled_from(QUERIES),
    size=st.integers(2, 9),
    changes=st.lists(
        st.lists(st.sampled_from(["delete", "index"]), max_size=4), min_size=1, max_size=6
    ),
    seed=st.integers(0, 2**32),
)
def test_who_stays_in_the_window_is_on_one_page(
    stand: Stand,
    query: dict[str, Any],
    size: int,
    changes: list[list[str]],
    seed: int,
) -> None:
    rng = random.Random(seed)
    index = f"{INDEX}-{uuid.uuid4().hex[:8]}"
    load(stand.direct, index, make_sources(60, seed=3), number_of_shards=2)
    try:
        check(stand, index, query, size, changes, rng)
    finally:
        request(stand.direct, "DELETE", f"/{index}")


def check(
    stand: Stand,
    index: str,
    query: dict[str, Any],
    size: int,
    changes: list[list[str]],
    rng: random.Random,
) -> None:
    """Page through the window; between two pages documents are deleted and indexed."""

    def window() -> list[str]:
        return ask(stand.direct, index, query=query, size=WINDOW)

    before = window()
    always, left, seen = set(before), set[str](), list[str]()
    for number, start in enumerate(range(0, WINDOW - WINDOW % size, size)):
        page = ask(stand.proxied, index, query=query, size=size, **{"from": start})
        assert len(page) <= size
        seen += page
        for change in changes[number] if number < len(changes) else []:
            here = window()
            if change == "delete" and here:
                request(stand.direct, "DELETE", f"/{index}/_doc/{rng.choice(here)}")
            else:
                stand.fresh += 1
                path = f"/{index}/_doc/{stand.fresh}"
                request(stand.direct, "PUT", path, NEW.encode())
            request(stand.direct, "POST", f"/{index}/_refresh")
            left |= set(here) - set(window())
        always &= set(window())
    stayed = [one for one in seen if one not in left]
    assert len(stayed) == len(set(stayed))
    if len(before) <= WINDOW - WINDOW % size:
        assert always <= set(seen)


def test_a_list_repeats_while_the_model_errs(stand: Stand, index: str) -> None:
    for size in (7, 40):
        pages = [
            ask(stand.proxied, index, query=QUERIES[0], size=size, **{"from": start})
            for start in range(0, 40, size)
        ]
        whole = [one for page in pages for one in page]
        assert whole[:WINDOW] == ask(stand.proxied, index, query=QUERIES[0], size=40)
        assert len(whole) == len(set(whole))
    anew = {"es_rerank": {"explain": True}}
    assert ask(stand.proxied, index, query=QUERIES[0], size=40, ext=anew) != whole[:WINDOW]


def test_groups_keep_their_place_when_their_head_changes(stand: Stand, index: str) -> None:
    """A better document of a group becomes its head, where the group has stood."""
    body: dict[str, Any] = {"query": {"match": {"title": "red shoes"}}, "size": 4}
    body["collapse"] = {"field": "category", "inner_hits": {"name": "all", "size": 3}}
    first = request(stand.proxied, "POST", f"/{index}/_search", body).json()["hits"]["hits"]
    group = first[1]["fields"]["category"]
    better = (
        b'{"title":"red shoes red shoes","category":%s}' % str(group).replace("'", '"').encode()
    )
    request(stand.direct, "PUT", f"/{index}/_doc/better?refresh=true", better)
    again = request(stand.proxied, "POST", f"/{index}/_search", body).json()["hits"]["hits"]
    assert [h["fields"]["category"] for h in again] == [h["fields"]["category"] for h in first]
    assert again[1]["_id"] == "better"
    assert again[1]["inner_hits"]["all"]["hits"]["hits"][0]["_id"] == "better"
