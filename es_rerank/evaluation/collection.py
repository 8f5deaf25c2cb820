"""Ask every query in every way: straight, and through the proxy with each setting; then time them.

Rankings are collected patiently, so that a slow machine measures the same order as a fast one.
Times are taken as shoppers meet them: a page of ten, the proxy's own deadline, words that are new
to it.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from es_rerank.errors import ConfigError
from es_rerank.evaluation.runs import Answer, Endpoint

ENGINE = "engine"
PATIENCE_MS = 60_000
PAGE = 10
SEED = 20
IN_PART = "scored in part"
PLACEHOLDERS = ("{{query}}", "#$query##")
"""Ours, and Quepid's."""
Report = Callable[[str], None]


@dataclass(frozen=True)
class Stand:
    """Where and what to search. template: a search body that has a placeholder for the words.

    id_field: the field that documents are known by in the judgments, None for `_id`.
    """

    engine: Endpoint
    proxy: Endpoint | None
    index: str
    template: Mapping[str, Any]
    id_field: str | None = None


@dataclass(frozen=True)
class Run:
    """One way's rankings: query id -> document ids. block: of `ext.es_rerank`, None where the
    engine answers itself. outcomes: how often X-Es-Rerank said what."""

    rankings: Mapping[str, Sequence[str]]
    block: Mapping[str, Any] | None = None
    outcomes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Times:
    """Milliseconds at the client by query id; how many searches were reranked in time."""

    ms: Mapping[str, float]
    outcomes: Mapping[str, int]


def fill_template(template: Any, words: str) -> Any:
    """A body with the words in place of the placeholder, wherever in a text that stands."""
    if isinstance(template, str):
        for placeholder in PLACEHOLDERS:
            template = template.replace(placeholder, words)
        return template
    if isinstance(template, Mapping):
        return {key: fill_template(value, words) for key, value in template.items()}
    if isinstance(template, list):
        return [fill_template(value, words) for value in template]
    return template


def read_template(text: str, source: str) -> dict[str, Any]:
    """A search body with a placeholder. Raises ConfigError."""
    try:
        body = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{source} is no JSON: {error}.") from error
    if not isinstance(body, dict) or "query" not in body:
        raise ConfigError(f"{source} must be a search body: an object with `query`.")
    if not any(placeholder in text for placeholder in PLACEHOLDERS):
        raise ConfigError(
            f"{source} has no {PLACEHOLDERS[0]}: write it where the shopper's words belong."
        )
    return body


def make_body(
    stand: Stand, words: str, block: Mapping[str, Any] | None, size: int
) -> dict[str, Any]:
    """The body of one search; a block of ours joins the one that the template has."""
    body: dict[str, Any] = fill_template(stand.template, words)
    body |= {"from": 0, "size": size}
    others = {key: value for key, value in body.pop("ext", {}).items() if key != "es_rerank"}
    own = stand.template.get("ext", {}).get("es_rerank", {})
    if block is not None:
        others["es_rerank"] = {"enabled": True, **own, **block}
    return {**body, "ext": others} if others else body


def collect_run(
    stand: Stand,
    queries: Mapping[str, str],
    block: Mapping[str, Any] | None,
    depth: int,
) -> Run:
    """Search for every query. queries: id -> words. Raises ClusterError."""
    endpoint = choose(stand, block)
    patient = None if block is None else {"timeout_ms": PATIENCE_MS, **block}
    outcomes: Counter[str] = Counter()
    rankings = {}
    for name, words in queries.items():
        body = make_body(stand, words, patient, depth)
        answer = endpoint.search(stand.index, {**body, "_source": False}, stand.id_field)
        rankings[name] = list(answer.ids)
        if block is not None:
            outcomes[short(answer)] += 1
    return Run(rankings, block, outcomes)


def time_runs(
    stand: Stand, queries: Mapping[str, str], blocks: Mapping[str, Mapping[str, Any] | None]
) -> dict[str, Times]:
    """Time a page of ten for every query in every way, all taking turns at random.

    The proxy is told words that no other search has had, so that nothing it keeps about a query can
    help. The first query warms everything up and is asked once more.
    """
    chance = random.Random(SEED)
    ms: dict[str, dict[str, float]] = {way: {} for way in blocks}
    outcomes: dict[str, Counter[str]] = {way: Counter() for way in blocks}
    names = list(queries)
    for turn, name in enumerate([*names[:1], *chance.sample(names, len(names))]):
        for way in chance.sample(list(blocks), len(blocks)):
            block = blocks[way]
            if block is not None:
                block = {**block, "query_text": f"{queries[name]} {chance.randrange(10**9)}"}
            body = make_body(stand, queries[name], block, PAGE)
            answer = choose(stand, block).search(stand.index, body, stand.id_field)
            if turn:
                ms[way][name] = answer.elapsed_ms
                outcomes[way][short(answer)] += 1
    return {way: Times(ms[way], outcomes[way] if blocks[way] is not None else {}) for way in blocks}


def choose(stand: Stand, block: Mapping[str, Any] | None) -> Endpoint:
    """Who answers."""
    if block is not None and stand.proxy is None:
        raise ConfigError("Without a proxy nothing can be reranked: leave --proxy out, or name one")
    return stand.engine if block is None or stand.proxy is None else stand.proxy


def short(answer: Answer) -> str:
    """The header's outcome and reason, and whether all was scored."""
    first, *others = (part.strip() for part in answer.outcome.split(";"))
    told = [part for part in others if part.startswith("reason=")]
    if any(part.startswith("scored=") for part in others):
        told.append(IN_PART)
    return "; ".join([first or "no X-Es-Rerank header", *told])
