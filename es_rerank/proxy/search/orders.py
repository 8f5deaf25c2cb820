"""The orders that lists were given lately, so that the pages of one list agree.

Two pages of a list are two searches. Between them the index is refreshed, another replica answers,
a GPU rounds another way, or a page misses its deadline: ranked anew, the second page could repeat
what the first has shown. So the order of a window is kept for a short while as the identities of
its hits, and the pages that follow are cut out of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from es_rerank.proxy.answer import Header
from es_rerank.proxy.search.options import SearchOptions
from es_rerank.proxy.search.request import RAW_OBJECT, UNREADABLE, SearchRequest, plain

ENTRIES = 10_000
BYTES = 32_000_000
LIVES = 10
"""A list that is paged on and on is ranked anew after so many times its life."""

# What shows in an answer without deciding which hits there are, or in which order.
SHOWN_KEYS = frozenset(
    {"from", "size", "_source", "fields", "docvalue_fields", "script_fields", "stored_fields"}
    | {"highlight", "explain", "profile", "aggs", "aggregations", "suggest", "stats", "version"}
    | {"seq_no_primary_term", "track_total_hits", "track_scores"}
)
SHOWN_PARAMETERS = SHOWN_KEYS | {
    *("_source_includes", "_source_excludes", "_source_include", "_source_exclude"),
    *("pretty", "human", "error_trace", "format", "filter_path", "typed_keys"),
    *("rest_total_hits_as_int", "request_cache", "ccs_minimize_roundtrips"),
    *("batched_reduce_size", "max_concurrent_shard_requests", "pre_filter_shard_size"),
    *("suggest_field", "suggest_mode", "suggest_size", "suggest_text"),
}
# Headers that tell who asks, whatever a gateway calls them. What a gateway names anew for each
# request, such as an id for tracing, must not be among them.
WHO = re.compile(
    rb"cookie|auth|user(?!-agent)|role|token|tenant|cert|key|ssl|ident|account|customer|client-dn"
    rb"|runas|forwarded-for|^forwarded$"
)


@dataclass(frozen=True)
class Order:
    """The order that a list was given.

    identities: by place, of at most W hits, as keyed hashes. served: places below this have been
    shown, and are not moved any more. outcome and reason: how it came about. model: what ranked it.
    scored: how much of the window it read, such as 64/100, where that was not all. dropped: what
    crowding left out of the list.
    """

    identities: array[int]
    served: int
    outcome: str
    reason: str | None
    model: str
    scored: str | None = None
    dropped: array[int] = field(default_factory=lambda: array("q"))

    @property
    def ranked(self) -> bool:
        """Whether the order is ours; otherwise it is the engine's."""
        return self.outcome == "applied"


def list_key(request: SearchRequest, index: bytes, options: SearchOptions) -> bytes:
    """What all pages of one list have in common, and no other list: who asks, where, and for what.

    index: the raw index expression.
    """
    body = {
        name: msgspec.json.encode(without_life(msgspec.json.decode(raw)), order="sorted")
        for name, raw in sorted(request.body.items())
        if name not in SHOWN_KEYS
    }
    pairs = sorted((plain(key), value) for key, value in request.parameters)
    parameters = [pair for pair in pairs if pair[0] not in SHOWN_PARAMETERS]
    wishes = replace(options, explain=False, timeout_s=0.0, clamped=())
    whole = (list_credentials(request.headers), index, body, parameters, wishes)
    return hashlib.sha256(repr(whole).encode()).digest()


def without_life(value: Any) -> Any:
    """A point in time without how long it shall live on, which may differ from page to page."""
    if isinstance(value, dict) and "keep_alive" in value:
        return {name: item for name, item in value.items() if name != "keep_alive"}
    return value


def list_credentials(headers: Sequence[Header]) -> list[Header]:
    """The headers that say who asks."""
    return sorted((k.lower(), v) for k, v in headers if WHO.search(k.lower()))


def identify(
    hits: Sequence[Mapping[str, msgspec.Raw]], collapsed: str | None = None
) -> array[int] | None:
    """Each hit's identity: index, id and routing, or the group's value where hits are collapsed.

    As 64-bit hashes, keyed anew in each process, so that nobody can make two alike. None when a hit
    does not tell, or two are the same.
    """
    try:
        found = [
            hash((bytes(hit["_index"]), bytes(hit["_id"]), bytes(hit.get("_routing", b""))))
            if collapsed is None
            else hash(read_group(hit, collapsed))
            for hit in hits
        ]
    except (KeyError, *UNREADABLE):
        return None
    return array("q", found) if len(set(found)) == len(found) else None


def read_group(hit: Mapping[str, msgspec.Raw], field: str) -> bytes:
    """The value that a group of hits has in common, without the white space of `pretty`."""
    value = RAW_OBJECT.decode(hit.get("fields", b"{}")).get(field, b"null")
    return msgspec.json.format(bytes(value), indent=-1)


def follow(order: Order, present: Sequence[int], window: int) -> array[int]:
    """The order of a list of whose window the hits `present` are there now, in the engine's order.

    Who was shown keeps his place for good, and so a vanished hit among them leaves a gap; further
    down the others close up. Newcomers go to the end; those for whom the window has no place there
    fill the gaps. So a hit that is in the window all the time is on one page and on one only,
    whatever comes and goes.
    """
    now, before = set(present), {*order.identities, *order.dropped}
    shown = order.identities[: order.served]
    waiting = [one for one in order.identities[order.served :] if one in now]
    newcomers = [one for one in present if one not in before]
    room = max(window - len(shown) - len(waiting), 0)
    surplus = iter(newcomers[room:])
    places = [one if one in now else next(surplus, one) for one in shown]
    return array("q", [*places, *waiting, *newcomers[:room]])


class OrderCache:
    """Orders by list, for `life_s` seconds each; 0 keeps none. Bounded in entries and bytes."""

    def __init__(self, life_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._life_s = life_s
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[Order, float, float]] = OrderedDict()
        self._bytes = 0
        self._ranking: dict[bytes, asyncio.Future[None]] = {}

    @property
    def on(self) -> bool:
        """Whether orders are kept at all."""
        return self._life_s > 0

    def find(self, key: bytes, model: str) -> Order | None:
        """The order that the list was last given, unless another model gave it."""
        entry = self._kept.get(key)
        if entry is None:
            return None
        order, _, until = entry
        if until <= self._clock() or (order.ranked and order.model != model):
            self._drop(key)
            return None
        return order

    def keep(self, key: bytes, order: Order) -> None:
        """Keep the order that a list was given now."""
        now = self._clock()
        self._put(key, order, now, now + self._life_s)

    def move_on(self, key: bytes, order: Order, longer: bool) -> None:
        """Keep what has become of a known order; `longer` where the list is being paged."""
        if key not in self._kept:
            return self.keep(key, order)
        _, born, until = self._kept[key]
        if longer:
            until = max(until, min(self._clock() + self._life_s, born + LIVES * self._life_s))
        return self._put(key, order, born, until)

    def _put(self, key: bytes, order: Order, born: float, until: float) -> None:
        self._drop(key)
        while self._kept and next(iter(self._kept.values()))[2] <= self._clock():
            self._drop(next(iter(self._kept)))
        self._kept[key] = (order, born, until)
        self._bytes += weigh(order)
        while self._kept and (len(self._kept) > ENTRIES or self._bytes > BYTES):
            self._drop(next(iter(self._kept)))

    def _drop(self, key: bytes) -> None:
        if key in self._kept:
            self._bytes -= weigh(self._kept.pop(key)[0])

    def is_ranking(self, key: bytes) -> bool:
        """Whether the list is being ranked for somebody."""
        return key in self._ranking

    async def settle(self, key: bytes, timeout_s: float) -> bool:
        """Wait while the same list is being ranked for somebody. Returns whether it was."""
        ranking = self._ranking.get(key)
        if ranking is None:
            return False
        await asyncio.wait([ranking], timeout=timeout_s)
        return True

    @contextmanager
    def ordering(self, key: bytes) -> Iterator[None]:
        """Let others who want the same list wait for this one."""
        if key in self._ranking:
            yield
            return
        done = self._ranking[key] = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            del self._ranking[key]
            done.set_result(None)


def weigh(order: Order) -> int:
    """About how many bytes an entry takes."""
    return 500 + order.identities.itemsize * (len(order.identities) + len(order.dropped))
