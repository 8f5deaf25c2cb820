"""Searches of every kind that the proxy tells apart, to be bent."""

from __future__ import annotations

import random
from typing import Any

QUERIES: list[Any] = [
    {"match": {"title": "red running shoes"}},
    {"match": {"title": {"query": "blue", "operator": "and", "boost": 1.10}}},
    {"multi_match": {"query": "winter boots", "fields": ["title^2", "description"]}},
    {"bool": {"must": [{"match": {"title": "kids"}}], "filter": {"term": {"brand": "Acme"}}}},
    {"bool": {"should": [{"match_phrase": {"description": "warm wool"}}], "must_not": []}},
    {"query_string": {"query": "title:red AND -blue OR (trail~2)^3"}},
    {"simple_query_string": {"query": '"red shoes" + -blue', "fields": ["title"]}},
    {"dis_max": {"queries": [{"match": {"title": "a"}}, {"match": {"description": "b"}}]}},
    {"function_score": {"query": {"match": {"title": "shoes"}}, "boost": "5"}},
    {"constant_score": {"filter": {"match": {"title": "wool"}}}},
    {"nested": {"path": "variants", "query": {"term": {"variants.colour": "red"}}}},
    {"match_all": {}},
    {"ids": {"values": ["1", "2"]}},
]
PARTS: dict[str, list[Any]] = {
    "query": QUERIES,
    "from": [0, 3, "5", 95],
    "size": [0, 1, 5, "10", 30, 120],
    "sort": ["_score", ["_score"], [{"price": "asc"}], {"_score": {"order": "desc"}}],
    "_source": [False, True, ["title"], {"excludes": ["note.*"]}, "brand", []],
    "fields": [["brand"], [{"field": "price"}], []],
    "docvalue_fields": [["brand"], [{"field": "price", "format": "0.00"}]],
    "aggs": [{"brands": {"terms": {"field": "brand"}}}],
    "highlight": [{"fields": {"title": {}}}],
    "explain": [True, False],
    "track_total_hits": [True, False, 5],
    "collapse": [{"field": "category"}],
    "min_score": [0.5],
    "rescore": [
        {"window_size": 20, "query": {"rescore_query": {"match": {"title": "red"}}}},
        [{"query": {"rescore_query": {"match_all": {}}}}],
    ],
    "post_filter": [{"term": {"brand": "Birch"}}],
    "script_fields": [{"one": {"script": "1"}}],
    "stored_fields": ["_none_", ["title"]],
    "search_after": [[1.0]],
    "suggest": [{"s": {"text": "shoos", "term": {"field": "title"}}}],
    "timeout": ["10s"],
    "terminate_after": [100],
    "ext": [
        {"es_rerank": {"rank_window_size": 20, "diversity": 0.5}},
        {"es_rerank": {"crowding": [{"field": "brand", "max_count": 1}], "explain": True}},
        {"es_rerank": {"enabled": False}},
        {"es_rerank": {"query_text": "blue", "fields": ["title"], "weights": {"relevance": 1}}},
        {},
    ],
}
PARAMETERS: dict[str, list[str]] = {
    "size": ["5", "0", "", "-1", "x", "1e1", "%35", "99999999999"],
    "from": ["0", "10", "-1", ""],
    "q": ["red", "title:blue", "%22red+shoes%22", "", "((", "a%20b"],
    "sort": ["_score", "_score:desc", "price:asc", ""],
    "_source": ["true", "false", "title", "*"],
    "_source_includes": ["title"],
    "pretty": ["", "true", "false"],
    "filter_path": ["hits.hits._id", "took", "-hits.hits._source", "hits.*.*", "**._id", ""],
    "typed_keys": ["", "true"],
    "rest_total_hits_as_int": ["true"],
    "track_total_hits": ["false", "3"],
    "explain": ["true"],
    "preference": ["_local"],
    "routing": ["1"],
    "docvalue_fields": ["brand", "price,brand"],
    "ignore_unavailable": ["true"],
    "error_trace": ["true"],
    "format": ["json", "yaml"],
    "nonsense": ["1"],
}
NAMES = [*PARTS, *PARAMETERS, "match", "bool", "title", "brand", "es_rerank", "window_size"]


def make_body(rng: random.Random) -> dict[str, Any]:
    """A search that the engines understand, most of the time."""
    names = rng.sample(list(PARTS), rng.randint(0, 5))
    body = {name: rng.choice(PARTS[name]) for name in names}
    if rng.random() < 0.8:
        body["query"] = rng.choice(QUERIES)
    return body


def make_query_string(rng: random.Random) -> bytes:
    """Parameters of a search."""
    pairs = []
    for name in rng.sample(list(PARAMETERS), rng.choice([0, 0, 1, 1, 2, 4])):
        for value in rng.sample(
            PARAMETERS[name], rng.choice([1, 1, 1, min(2, len(PARAMETERS[name]))])
        ):
            pairs.append(f"{name}={value}" if value else name)
    return "&".join(pairs).encode()
