"""Searches beside the client's own: how they are sent, and when their answers count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from es_rerank.proxy.search.plan import Plan
from es_rerank.proxy.search.request import SearchRequest, plain, write_request
from es_rerank.proxy.search.splice import AnswerError, SearchAnswer, read_answer
from es_rerank.proxy.upstream import Answer, Upstream

# Which documents are looked into, as the client said it.
WHERE = frozenset(
    {"routing", "preference", "ignore_unavailable", "allow_no_indices", "expand_wildcards"}
    | {"ignore_throttled", "ccs_minimize_roundtrips"}
)


class NotExpandedError(Exception):
    """An expansion cannot be made. Names the reason."""


class Sender:
    """Sends searches as the client, with its headers."""

    def __init__(self, upstream: Upstream, max_answer_bytes: int) -> None:
        self._upstream = upstream
        self._max_answer_bytes = max_answer_bytes

    @property
    def on_elasticsearch(self) -> bool:
        """Whether the cluster is Elasticsearch, which it says in every answer."""
        return bool(self._upstream.product)

    async def send(self, request: SearchRequest) -> Answer:
        """Raises AnswerTooLargeError or UpstreamError."""
        target, headers, body = write_request(request)
        return await self._upstream.ask(
            request.method, target, headers, body, self._max_answer_bytes
        )

    async def search(self, request: SearchRequest) -> SearchAnswer:
        """Make a search of our own; as `send`, and AnswerError where it is refused or not whole."""
        answer = await self.send(request)
        if answer.status != 200:
            raise AnswerError(f"status {answer.status}")
        taken = read_answer(answer.body)
        if not is_whole(taken):
            raise AnswerError("some shards did not answer")
        return taken


def is_whole(answer: SearchAnswer) -> bool:
    """Whether all shards answered, in time."""
    shards = bytes(answer.body.get("_shards", b"")).replace(b" ", b"")
    return b'"failed":0' in shards and bytes(answer.body.get("timed_out", b"")) != b"true"


def own_search(plan: Plan, body: Mapping[str, Any]) -> SearchRequest:
    """A search of our own, over the documents that the client's looks into."""
    parameters = tuple(pair for pair in plan.request.parameters if plain(pair[0]) in WHERE)
    raw = {key: msgspec.Raw(msgspec.json.encode(value)) for key, value in body.items()}
    return replace(plan.request, body=raw, parameters=parameters, edited=True)


def count_words(words: Sequence[str], fields: Sequence[str]) -> dict[str, Any]:
    """The body of a search that counts the documents with each word in any of the fields.

    A word that the analyzer drops counts as in all of them.
    """
    found = {"fields": list(fields), "lenient": True, "zero_terms_query": "all"}
    filters = {word: {"multi_match": {"query": word, **found}} for word in words}
    return {
        "size": 0,
        "track_total_hits": False,
        "aggs": {"known": {"filters": {"filters": filters}}},
    }


def read_absent(answer: Mapping[str, msgspec.Raw]) -> set[str]:
    """The words that no document has, from the answer to `count_words`.

    Raises KeyError, TypeError or msgspec.DecodeError where it lacks a part.
    """
    buckets = msgspec.json.decode(answer["aggregations"])["known"]["buckets"]
    return {word for word, bucket in buckets.items() if bucket["doc_count"] == 0}
