"""Orders that are kept: whatever comes and goes, nobody who stays is lost, shown twice or moved."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.config import RerankSettings
from es_rerank.proxy.answer import Header
from es_rerank.proxy.search import orders
from es_rerank.proxy.search.options import SearchOptions, resolve_options
from es_rerank.proxy.search.orders import Order, OrderCache, follow, identify, list_key
from es_rerank.proxy.search.page import Page
from es_rerank.proxy.search.request import read_request
from es_rerank.proxy.search.rerank import close_gaps

OPTIONS = resolve_options(None, RerankSettings(), None)
TYPE: Header = (b"content-type", b"application/json")
BODY = b'{"query":{"match":{"title":"red shoes"}},"from":0,"size":10}'


def key(
    body: bytes = BODY,
    query: bytes = b"",
    headers: Sequence[Header] = (),
    index: bytes = b"shop",
    options: SearchOptions = OPTIONS,
) -> bytes:
    path = b"/" + index + b"/_search"
    request = read_request("POST", path, query, [TYPE, *headers], body, 10**6)
    return list_key(request, index, options)


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (b'{ "size": 5, "query" :{"match": {"title":"red shoes"}} }', b""),
        (BODY[:-1] + b',"_source":["a"],"highlight":{"fields":{"title":{}}}}', b"from=10&size=3"),
        (BODY[:-1] + b',"aggs":{"b":{"terms":{"field":"b"}}},"track_total_hits":true}', b"pretty"),
        (BODY[:-1] + b',"fields":["a"],"explain":true,"profile":true}', b"filter_path=hits&human"),
        (BODY, b"_source_includes=title&typed_keys&%73ize=3"),
    ],
)
def test_the_pages_of_a_list_have_one_key(body: bytes, query: bytes) -> None:
    assert key(body, query) == key()


@pytest.mark.parametrize(
    ("body", "query", "index"),
    [
        (BODY.replace(b"red", b"blue"), b"", b"shop"),
        (BODY[:-1] + b',"min_score":0.5}', b"", b"shop"),
        (BODY[:-1] + b',"post_filter":{"term":{"a":1}}}', b"", b"shop"),
        (BODY[:-1] + b',"collapse":{"field":"a"}}', b"", b"shop"),
        (BODY, b"q=red", b"shop"),
        (BODY, b"routing=a", b"shop"),
        (BODY, b"preference=a", b"shop"),
        (BODY, b"", b"shop,other"),
        (BODY, b"", b""),
    ],
)
def test_what_decides_the_hits_makes_another_list(body: bytes, query: bytes, index: bytes) -> None:
    assert key(body, query, index=index) != key()


def test_options_make_another_list_unless_they_only_show_or_wait() -> None:
    assert key(options=replace(OPTIONS, window=50)) != key()
    ranking = replace(OPTIONS.ranking, diversity=0.9)
    assert key(options=replace(OPTIONS, ranking=ranking)) != key()
    assert key(options=replace(OPTIONS, query_text="boots")) != key()
    assert key(options=replace(OPTIONS, timeout_s=9.0, explain=True, clamped=("a",))) == key()


CALLERS: list[list[Header]] = [
    [],
    [(b"authorization", b"Basic YTpi")],
    [(b"Authorization", b"Basic YTpj")],
    [(b"authorization", b"Basic YTpi"), (b"es-security-runas-user", b"ann")],
    [(b"authorization", b"Basic YTpi"), (b"es-secondary-authorization", b"x")],
    [(b"cookie", b"security_authentication=1")],
    [(b"x-proxy-user", b"ann"), (b"x-proxy-roles", b"a")],
    [(b"x-proxy-user", b"ann"), (b"x-proxy-roles", b"b")],
    [(b"x-forwarded-for", b"10.0.0.1")],
    [(b"x-ssl-client-cert", b"ann")],
    [(b"securitytenant", b"ann")],
]


def test_no_two_callers_share_a_list() -> None:
    assert len({key(headers=headers) for headers in CALLERS}) == len(CALLERS)


def test_headers_that_do_not_tell_who_asks_do_not_count() -> None:
    neutral = [(b"user-agent", b"x"), (b"x-opaque-id", b"7"), (b"traceparent", b"00-1"), TYPE]
    assert key(headers=neutral) == key()


def hit(**members: str) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(raw.encode()) for name, raw in members.items()}


def test_identities_are_index_id_and_routing() -> None:
    one = hit(_index='"a"', _id='"1"')
    found = identify([one, hit(_index='"b"', _id='"1"'), one | hit(_routing='"r"')])
    assert found is not None
    assert len(set(found)) == 3
    assert identify([one]) == found[:1]
    assert identify([one, one]) is None
    assert identify([hit(_index='"a"')]) is None


def test_a_group_is_known_however_it_is_written() -> None:
    """The pages of one list may be asked for with `pretty` and without."""
    plain, pretty = hit(fields='{"n":["a",1]}'), hit(fields='{\n "n" : [\n  "a",\n  1\n ]\n}')
    assert identify([plain], "n") == identify([pretty], "n")
    assert identify([hit(fields='{"n":["a ",1]}')], "n") != identify([pretty], "n")


def test_collapsed_hits_are_known_by_their_group() -> None:
    first = hit(_index='"a"', _id='"1"', fields='{"brand":["x"],"other":[1]}')
    head_changed = hit(_index='"a"', _id='"2"', fields='{"brand":["x"]}')
    bare = hit(_index='"a"', _id='"3"')
    assert identify([first], "brand") == identify([head_changed], "brand")
    assert identify([first, head_changed], "brand") is None
    assert identify([first, bare], "brand") is not None


class Reader:
    """Someone who pages through a list, as the proxy serves him."""

    def __init__(self) -> None:
        self.start = 0
        self.seen: list[int] = []


def serve(order: Order, present: list[int], window: int, page: Page) -> tuple[Order, list[int]]:
    """One page of a list, as Reranker cuts it. Past the window the engine's own page."""
    identities = follow(order, present[:window], window)
    served = max(order.served, min(page.start + page.size, len(identities)))
    moved = replace(order, identities=identities, served=served)
    position = {identity: i for i, identity in enumerate(present)}
    places, cut = close_gaps([position.get(one) for one in identities], page)
    final = [*places, *range(len(places), len(present))]
    return moved, [present[i] for i in final[cut.start : cut.start + cut.size]]


@given(
    st.randoms(use_true_random=False),
    st.integers(2, 30),
    st.integers(0, 50),
    st.integers(1, 7),
    st.integers(1, 3),
)
def test_who_stays_in_the_window_is_on_one_page(
    rng: object, window: int, documents: int, size: int, readers: int
) -> None:
    """Several readers at their own pace; documents come and go between any two pages."""
    from random import Random

    assert isinstance(rng, Random)
    present = list(range(documents))
    ranked = present[:window]
    rng.shuffle(ranked)
    order = Order(array("q", ranked), 0, "applied", None, "m")
    always, left = set(present[:window]), set[int]()
    fresh = documents
    people = [Reader() for _ in range(readers)]
    while any(person.start < window for person in people):
        person = rng.choice([p for p in people if p.start < window])
        before = present[:window]
        order, page = serve(order, present, window, Page(person.start, size))
        assert len(set(order.identities)) == len(order.identities) <= max(window, len(before))
        assert set(before) <= set(order.identities)
        assert len(page) <= size
        person.seen += page
        person.start += size
        for _ in range(rng.randint(0, 3)):
            if present and rng.random() < 0.5:
                present.remove(rng.choice(present))
            else:
                present.insert(rng.randint(0, len(present)), fresh)
                fresh += 1
        always &= set(present[:window])
        left |= set(before) - set(present[:window])
    for person in people:
        stayed = [one for one in person.seen if one not in left]
        assert len(stayed) == len(set(stayed))
        if person.start >= window:
            assert always <= set(person.seen)


def test_nothing_moves_while_nothing_changes() -> None:
    order = Order(array("q", [4, 2, 0, 1, 3]), 2, "applied", None, "m")
    assert list(follow(order, [0, 1, 2, 3, 4], 5)) == [4, 2, 0, 1, 3]


def test_vanished_ones_leave_a_gap_where_shown_and_close_up_where_not() -> None:
    order = Order(array("q", [4, 2, 0, 1, 3]), 2, "applied", None, "m")
    gone = follow(order, [0, 3, 4], 5)
    assert list(gone) == [4, 2, 0, 3]
    places = [{0: 0, 3: 1, 4: 2}.get(one) for one in gone]
    assert places == [2, None, 0, 1]
    assert close_gaps(places, Page(0, 2)) == ([2, 0, 1], Page(0, 1))
    assert close_gaps(places, Page(2, 2)) == ([2, 0, 1], Page(1, 2))


def test_what_was_dropped_is_no_newcomer() -> None:
    order = Order(array("q", [3, 1]), 1, "applied", None, "m", dropped=array("q", [2, 5]))
    assert list(follow(order, [1, 2, 3, 4, 5], 5)) == [3, 1, 4]


def test_newcomers_go_to_the_end_and_fill_gaps_when_it_is_full() -> None:
    order = Order(array("q", [4, 2, 0, 1, 3]), 2, "applied", None, "m")
    assert list(follow(order, [9, 0, 1, 3, 4], 9)) == [4, 2, 0, 1, 3, 9]
    assert list(follow(order, [9, 0, 1, 3, 4], 5)) == [4, 9, 0, 1, 3]
    assert list(follow(order, [9, 0, 8, 3, 4], 5)) == [4, 8, 0, 3, 9]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_list_that_is_paged_lives_on_for_a_while() -> None:
    clock = Clock()
    cache = OrderCache(10.0, clock)
    order = Order(array("q", [1]), 1, "applied", None, "m")
    cache.keep(b"k", order)
    for _ in range(16):
        clock.now += 6.0
        assert cache.find(b"k", "m") == order
        cache.move_on(b"k", order, longer=True)
    clock.now += 6.0
    assert cache.find(b"k", "m") is None
    cache.keep(b"k", order)
    clock.now += 6.0
    cache.move_on(b"k", order, longer=False)
    clock.now += 6.0
    assert cache.find(b"k", "m") is None
    assert not OrderCache(0.0).on


def test_another_model_orders_anew_but_the_engines_order_stays() -> None:
    cache = OrderCache(10.0)
    cache.keep(b"k", Order(array("q", [1]), 1, "applied", None, "m"))
    assert cache.find(b"k", "other") is None
    fallen = Order(array("q", [1]), 1, "fallback", "deadline", "m")
    cache.keep(b"k", fallen)
    assert cache.find(b"k", "other") == fallen


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    order = Order(array("q", range(100)), 1, "applied", None, "m")
    monkeypatch.setattr(orders, "ENTRIES", 3)
    cache = OrderCache(10.0)
    for name in b"abcde":
        cache.keep(bytes([name]), order)
    assert [cache.find(bytes([n]), "m") is None for n in b"abcde"] == [True, True, *[False] * 3]
    monkeypatch.setattr(orders, "BYTES", 2 * orders.weigh(order))
    cache.keep(b"f", order)
    assert cache.find(b"d", "m") is None
    assert cache.find(b"e", "m") == cache.find(b"f", "m") == order


def test_what_is_over_makes_room() -> None:
    """Lists that nobody pages any further are not kept until there are too many."""
    clock = Clock()
    cache = OrderCache(10.0, clock)
    order = Order(array("q", range(100)), 1, "applied", None, "m")
    for number in range(50):
        cache.keep(b"%d" % number, order)
        clock.now += 1.0
    assert len(cache._kept) == 10
    assert cache._bytes == 10 * orders.weigh(order)


def test_others_wait_while_a_list_is_ranked() -> None:
    async def scene() -> list[str]:
        cache, told = OrderCache(10.0), list[str]()

        async def first() -> None:
            with cache.ordering(b"k"):
                await asyncio.sleep(0.02)
                told.append("ranked")

        async def second(timeout_s: float) -> None:
            await asyncio.sleep(0)
            assert await cache.settle(b"k", timeout_s)
            told.append(f"waited {timeout_s}")

        await asyncio.gather(first(), second(0.005), second(5.0))
        assert not await cache.settle(b"k", 5.0)
        return told

    assert asyncio.run(scene()) == ["waited 0.005", "ranked", "waited 5.0"]
