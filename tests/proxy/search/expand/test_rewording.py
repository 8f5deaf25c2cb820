"""A query in other words keeps everything but its words."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from es_rerank.proxy.search.expand.restriction import decode_exact
from es_rerank.proxy.search.expand.rewording import change_texts, reword

OTHERS = {"runing": "running", "shoos": "shoes"}
ASKED = {"match": {"title": {"query": "Runing shoos", "operator": "and"}}}
SAID = {"match": {"title": {"query": "running shoes", "operator": "and"}}}
FILTER = {"match": {"title": "runing"}}


def test_whole_words_are_replaced_and_all_else_kept() -> None:
    text = "RUNING  shoos, runingshoos (runing-shoos) 42"
    assert reword(text, OTHERS) == "running  shoes, runingshoos (running-shoes) 42"


CASES: dict[str, tuple[Any, Any]] = {
    "match": (ASKED, SAID),
    "short": ({"match_phrase": {"title": "runing"}}, {"match_phrase": {"title": "running"}}),
    "several fields": (
        {"multi_match": {"query": "shoos", "fields": ["a^2"], "type": "most_fields"}},
        {"multi_match": {"query": "shoes", "fields": ["a^2"], "type": "most_fields"}},
    ),
    "bool": (
        {"bool": {"must": ASKED, "should": [ASKED], "filter": FILTER, "must_not": [FILTER]}},
        {"bool": {"must": SAID, "should": [SAID], "filter": FILTER, "must_not": [FILTER]}},
    ),
    "inside others": (
        {"function_score": {"query": {"dis_max": {"queries": [ASKED, {"match_all": {}}]}}}},
        {"function_score": {"query": {"dis_max": {"queries": [SAID, {"match_all": {}}]}}}},
    ),
    "boosting": (
        {"boosting": {"positive": ASKED, "negative": FILTER}},
        {"boosting": {"positive": SAID, "negative": FILTER}},
    ),
    "plain query string": (
        {"query_string": {"query": "runing shoos"}},
        {"query_string": {"query": "running shoes"}},
    ),
    "syntax": (
        {"query_string": {"query": "title:runing -shoos"}},
        {"query_string": {"query": "title:runing -shoos"}},
    ),
    "terms": ({"term": {"title": "runing"}}, {"term": {"title": "runing"}}),
    "odd": ({"bool": 7}, {"bool": 7}),
}


@pytest.mark.parametrize("case", CASES)
def test_only_the_words_of_scoring_clauses_change(case: str) -> None:
    query, expected = CASES[case]
    changed = change_texts(
        decode_exact(json.dumps(query).encode()), lambda text: reword(text, OTHERS)
    )
    assert json.loads(msgspec.json.encode(changed)) == expected
