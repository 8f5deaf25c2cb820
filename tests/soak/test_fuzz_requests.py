"""Bent searches through the rewriter: what is sent on means what the client sent.

Budget: a quarter of SOAK_SECONDS (600 by default); the short one 3 s.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections import Counter
from typing import Any
from urllib.parse import parse_qs, quote

import pytest

from es_rerank.cluster.fields import IndexFields
from es_rerank.config import Settings, load_settings
from es_rerank.errors import RequestError
from es_rerank.proxy.answer import Header
from es_rerank.proxy.search.coding import BodyError
from es_rerank.proxy.search.pipelines import PipelineCatalog
from es_rerank.proxy.search.plan import Plan, Planner
from es_rerank.proxy.search.request import SearchRequest, read_request, write_request
from es_rerank.proxy.upstream import Upstream
from tests.soak.corpus import NAMES, make_body, make_query_string
from tests.soak.mutate import SOAK_S, at_most, bend_bytes, bend_value, examples, write_json

SEED = 20
OURS = {"from", "size", "ext", "fields", "docvalue_fields"}
FIELDS = IndexFields(
    text=("title", "description"),
    attributes=("brand", "variants.colour"),
    price="price",
    vector=None,
    code="es_rerank.code",
    model="m",
)
TYPES = [b"application/json", b"application/vnd.elasticsearch+json;compatible-with=9", b"text/xml"]


class KnownFields:
    """A catalogue that knows one index, in the place of one that asks a cluster."""

    async def find(self, index: bytes, headers: Any, as_proxy: bool = True) -> IndexFields:
        return FIELDS

    async def find_indices(self, request: SearchRequest) -> bytes:
        return b"i"

    async def find_unknown(self, named: Any, index: bytes, headers: Any) -> tuple[str, ...]:
        return ()


class Encoder:
    name = "m"


class Cache:
    encoder = Encoder()


class NoRanker:
    """What the planner wants to know of the ranker."""

    embedder = Cache()


def make_planner(settings: Settings) -> Planner:
    pipelines = PipelineCatalog(Upstream(settings.upstream), "", 10.0)
    return Planner(settings, KnownFields(), NoRanker(), pipelines)  # type: ignore[arg-type]


def make_request(rng: random.Random) -> tuple[str, bytes, list[Header], bytes]:
    """A bent request: method, query string, headers, body."""
    value: Any = make_body(rng)
    for _ in range(rng.choice([0, 0, 1, 1, 2, 4])):
        value = bend_value(rng, value, NAMES)
    body = write_json(rng, value)
    query = make_query_string(rng)
    headers: list[Header] = [
        (b"Content-Type", TYPES[0] if rng.random() < 0.9 else rng.choice(TYPES))
    ]
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        body = bend_bytes(rng, body)
    if rng.random() < 0.1:
        query = bend_bytes(rng, query).replace(b"#", b"").replace(b" ", b"+")
    drawn = rng.random()
    if drawn < 0.05:
        body = gzip.compress(body)
        headers.append((b"content-encoding", rng.choice([b"gzip", b"GZIP", b"br", b"identity"])))
        body = bend_bytes(rng, body) if rng.random() < 0.3 else body
    elif drawn < 0.1:
        query += b"&source_content_type=application/json&source=" + quote(body).encode()
        body = b""
    elif drawn < 0.13:
        body = rng.choice([b"", b" ", b"{}", b"[]", b"null"])
    if rng.random() < 0.1:
        headers.append((b"Accept", rng.choice([*TYPES, b"*/*", b"application/yaml"])))
    return rng.choice(["GET", "POST"]), query, headers, body


def parse(body: bytes) -> dict[str, Any]:
    """A body with its numbers as they are written. Raises ValueError where it is no JSON."""
    text = body.decode("utf-8")

    def refuse(name: str) -> Any:
        raise ValueError(name)

    value = json.loads(
        text, parse_int=lambda s: f"#{s}", parse_float=lambda s: f"#{s}", parse_constant=refuse
    )
    assert isinstance(value, dict)
    return value


def check_meaning(original: bytes, sent: bytes, changed: set[str]) -> None:
    """Every key that is not ours to change is the client's, and of `ext` our block is gone."""
    before = parse(original) if original.strip() else {}
    after = parse(sent) if sent else {}
    assert {k: v for k, v in before.items() if k not in changed} == {
        k: v for k, v in after.items() if k not in changed
    }
    ext = before.get("ext")
    others = {k: v for k, v in ext.items() if k != "es_rerank"} if isinstance(ext, dict) else {}
    if isinstance(ext, dict) and "es_rerank" in ext:
        assert after.get("ext", {}) == others
    else:
        assert after.get("ext") == ext
    for name in ("fields", "docvalue_fields"):
        wished = before.get(name, [])
        assert after.get(name, [])[: len(wished)] == wished


def rewrite(planner: Planner, rng: random.Random, seen: Counter[str]) -> None:
    """Bend one request, send it through, and check what comes out."""
    method, query, headers, body = make_request(rng)
    try:
        request = read_request(method, b"/i/_search", query, headers, body, 2_000_000)
    except BodyError as error:
        seen[f"body {error}"] += 1
        return
    try:
        plan = asyncio.run(planner.plan(request, b"i"))
    except RequestError:
        seen["block refused"] += 1
        return
    original = json_sent(request, query, headers, body)
    target, own, text = write_request(request)
    check_meaning(original, text, {"ext"})
    if not isinstance(plan, Plan):
        seen[plan.reason] += 1
        return
    target, own, text = write_request(plan.widened())
    hidden = {"stored_fields", "_source"} if plan.additions.hidden else set()
    check_meaning(original, text, OURS | hidden)
    sent = parse(text)
    hits = max(plan.window, plan.page.start + plan.page.size)
    assert (sent["from"], sent["size"]) == ("#0", f"#{hits}")
    assert target.startswith(b"/i/_search")
    assert not any(name.lower() == b"accept-encoding" for name, _ in own)
    seen["reranked"] += 1


def json_sent(request: SearchRequest, query: bytes, headers: list[Header], body: bytes) -> bytes:
    """The JSON that the client sent, wherever and however."""
    if any(k == b"content-encoding" and v.lower() == b"gzip" for k, v in headers):
        return gzip.decompress(body)
    pairs = parse_qs(query.decode("utf-8", "replace"), keep_blank_values=True)
    return pairs["source"][-1].encode() if not body and "source" in pairs else body


@pytest.mark.live
@pytest.mark.parametrize(
    "seconds",
    [3.0, pytest.param(SOAK_S / 4, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])],
)
def test_what_is_sent_on_means_what_came_in(seconds: float) -> None:
    planner = make_planner(load_settings(None, {"rerank": {"rank_window_size": 50}}))
    seen: Counter[str] = Counter()
    for number in examples(seconds):
        rng = random.Random(f"{SEED} {number}")
        try:
            with at_most(5.0):
                rewrite(planner, rng, seen)
        except BaseException as error:
            error.add_note(f"example {number}: {make_request(random.Random(f'{SEED} {number}'))}")
            raise
    print(f"\n{number + 1} requests: {dict(seen.most_common())}")
    assert seen["reranked"] > number / 20
    assert seen["block refused"]
    assert seen["body body"]
