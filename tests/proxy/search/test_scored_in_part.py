"""A search whose time is over before the model has read its window: what was read is shown."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.proxy.search.test_handler import JSON, prefer_high_numbers, search
from tests.proxy.wire import (
    RawUpstream,
    Request,
    answer,
    ask,
    proxy_settings,
    reranker,
    serve_app,
    upstream,
)

HITS = 100
RERANK = {
    "order_cache_s": 60,
    "relevance_weight": 1.0,
    "first_stage_weight": 0.0,
    "diversify": {"diversity": 0.0},
}


def shop(request: Request, connection: Any) -> None:
    if request.target.endswith(b"/_mapping"):
        mappings = {"properties": {"title": {"type": "text"}}}
        answer(connection, 200, json.dumps({"shop": {"mappings": mappings}}).encode())
        return
    asked = [json.loads(line) for line in request.body.split(b"\n") if line]
    bodies = asked[1::2] if b"_msearch" in request.target else asked
    found = [page(body.get("from", 0), body.get("size", 10)) for body in bodies]
    whole = {"responses": found} if b"_msearch" in request.target else found[0]
    answer(connection, 200, json.dumps(whole).encode())


def page(start: int, size: int) -> dict[str, Any]:
    hits = [
        {"_index": "shop", "_id": str(i), "_score": 200.0 - i, "_source": {"title": f"shoe {i}"}}
        for i in range(1, HITS + 1)
    ][start : start + size]
    whole = {"total": {"value": HITS, "relation": "eq"}, "max_score": 199.0, "hits": hits}
    return {"took": 1, "timed_out": False, "status": 200, "hits": whole}


@contextlib.contextmanager
def stand(score: Callable[[str, str], float]) -> Iterator[tuple[str, RawUpstream]]:
    with contextlib.ExitStack() as started:
        raw = started.enter_context(upstream(shop))
        model = started.enter_context(reranker(score))
        settings = proxy_settings(raw.url, model.url, rerank=RERANK)
        proxy, _ = started.enter_context(serve_app(settings))
        yield proxy, model


def slow_from(number: int) -> Callable[[str, str], float]:
    """Scores by the number in the text; a request with a high one takes its time."""

    def score(query: str, text: str) -> float:
        found = prefer_high_numbers(query, text)
        if found == number:
            time.sleep(3)
        return found

    return score


def ids(proxy: str, start: int, size: int, timeout_ms: int = 1500) -> tuple[str, list[int]]:
    block = {"es_rerank": {"timeout_ms": timeout_ms}}
    query = {"query": {"match": {"title": "shoes"}}, "from": start, "size": size, "ext": block}
    status, mark, found, *_ = search(proxy, query)
    assert status == 200
    return mark, found


def test_the_read_are_ranked_and_the_rest_follows_on_every_page() -> None:
    with stand(slow_from(90)) as (proxy, _):
        mark, first = ids(proxy, 0, 60)
        assert mark.startswith("applied; scored=")
        read, texts = map(int, mark.removeprefix("applied; scored=").split("/"))
        assert texts == HITS
        assert 0 < read < HITS
        again, second = ids(proxy, 60, 40)
        assert again == mark, "the second page is cut out of the same order"
    order = first + second
    assert sorted(order) == list(range(1, HITS + 1))
    assert order[:read] == sorted(order[:read], reverse=True)
    assert order[read:] == sorted(order[read:])
    assert 90 in order[read:]


def test_the_metrics_count_it() -> None:
    with stand(slow_from(90)) as (proxy, _):
        ids(proxy, 0, 10)
        metrics = ask(proxy, b"GET /_es_rerank/metrics")[2].decode()
    (line,) = [
        line
        for line in metrics.splitlines()
        if line.startswith("es_rerank_partly_scored_searches_total ")
    ]
    assert float(line.split()[1]) >= 1
    assert 'es_rerank_score_batch_size_bucket{le="32.0"}' in metrics


def test_each_search_of_several_says_its_own() -> None:
    block = {"es_rerank": {"timeout_ms": 1500}}
    lines = [{}, {"query": {"match": {"title": "a"}}, "ext": block}]
    body = "".join(json.dumps(line) + "\n" for line in lines * 2).encode()
    with stand(slow_from(90)) as (proxy, _):
        status, head, _ = ask(proxy, b"POST /shop/_msearch", JSON, body=body)
    assert status == 200
    (items,) = [line for line in head.split(b"\r\n") if line.startswith(b"x-es-rerank-items")]
    assert items.count(b"applied;scored=") == 2
