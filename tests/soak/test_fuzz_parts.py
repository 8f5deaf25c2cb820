"""Bent `filter_path`s on bent answers, and bent `_msearch` bodies.

Budget: a twelfth of SOAK_SECONDS (600 by default) each; the short ones 2 s.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from es_rerank.proxy.search.coding import BodyError
from es_rerank.proxy.search.filter_path import FilterError, read_filter
from es_rerank.proxy.search.ndjson import read_items, write_items
from es_rerank.proxy.search.request import SearchRequest
from tests.soak.corpus import NAMES, make_body
from tests.soak.mutate import SOAK_S, at_most, bend_bytes, bend_value, examples, write_json
from tests.soak.test_fuzz_answers import NAMES as ANSWER_NAMES
from tests.soak.test_fuzz_answers import make_answer, texts

SEED = 20
SEGMENTS = [*("hits", "*", "**", "_source", "_id", "title", "total", "took", "agg*", "*s", "h*s")]
SEGMENTS += ["_shards", "n", "colour", "é", "", "a b", "-x", "\\"]
BUDGETS = [2.0, pytest.param(SOAK_S / 12, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
HEADERS: list[Any] = [
    *({}, {"index": "i"}, {"index": ["a", "b*"]}, {"routing": "1"}, {"preference": "_local"}),
    *({"index": "<log-{now/d}>", "allow_no_indices": True}, {"search_type": "query_then_fetch"}),
]


def holds(whole: Any, part: Any) -> bool:
    """Whether the part is the whole with members and items left out."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(key in whole and holds(whole[key], value) for key, value in part.items())
    if isinstance(whole, list) and isinstance(part, list):
        left = iter(whole)
        return all(any(holds(item, wanted) for item in left) for wanted in part)
    return bool(whole == part)


def filter_answer(rng: random.Random, seen: Counter[str]) -> None:
    """What is cut is a part of the answer, and cut again stays what it is."""
    patterns = []
    for _ in range(rng.randint(1, 4)):
        path = ".".join(rng.choices(SEGMENTS, k=rng.randint(1, 5)))
        patterns.append(("-" if rng.random() < 0.3 else "") + path)
    value: Any = make_answer(rng)
    for _ in range(rng.choice([0, 1, 3])):
        value = bend_value(rng, value, ANSWER_NAMES)
    body = write_json(rng, value)
    pairs = ((b"filter_path", ",".join(patterns).encode()),)
    try:
        chosen = read_filter(SearchRequest("GET", b"/_search", pairs, (), {}))
        if chosen is None:
            seen["none"] += 1
            return
        msgspec.json.decode(body)  # what is filtered has been read before
        cut = chosen.cut(body)
    except FilterError:
        seen["not sure"] += 1
        return
    except msgspec.DecodeError:
        seen["unreadable"] += 1
        return
    seen["empty" if cut == b"{}" else "cut"] += 1
    whole, part = texts(body), texts(cut)
    assert holds(whole, part) or part == {}, patterns
    if not chosen.excluded:
        assert chosen.cut(cut) == cut, patterns


def split_searches(rng: random.Random, seen: Counter[str]) -> None:
    """Lines are taken apart as they stand, or not at all."""
    lines = []
    for _ in range(rng.randint(1, 4)):
        header, search = rng.choice(HEADERS), make_body(rng)
        if rng.random() < 0.2:
            header = bend_value(rng, header, NAMES)
        lines.append(b"" if not header and rng.random() < 0.5 else json.dumps(header).encode())
        lines.append(json.dumps(search).encode())
    body = b"\n".join(lines) + b"\n"
    for _ in range(rng.choice([0, 0, 1, 2])):
        body = bend_bytes(rng, body)
    try:
        items = read_items(body, b"i")
    except BodyError:
        seen["refused"] += 1
        return
    seen["split"] += 1
    written = write_items([(item.header, item.body) for item in items])
    assert body.startswith(written)
    assert body[len(written) :].count(b"\n") <= 1  # a last header without its search
    for item in items:
        assert b"\n" not in item.header + item.body
        assert item.index
        assert all(isinstance(part, bytes) for pair in item.parameters for part in pair)


@pytest.mark.live
@pytest.mark.parametrize("seconds", BUDGETS)
@pytest.mark.parametrize("try_one", [filter_answer, split_searches])
def test_parts_are_taken_apart_or_left(
    try_one: Callable[[random.Random, Counter[str]], None], seconds: float
) -> None:
    seen: Counter[str] = Counter()
    for number in examples(seconds):
        try:
            with at_most(5.0):
                try_one(random.Random(f"{SEED} {number}"), seen)
        except BaseException as error:
            error.add_note(f"example {number}")
            raise
    print(f"\n{number + 1}: {dict(seen)}")
    assert seen["cut"] + seen["split"] > number / 20
    assert seen["not sure"] + seen["refused"] > number / 100
