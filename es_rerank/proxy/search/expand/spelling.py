"""Mended spelling: where a search finds little, its unknown words as the index spells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from es_rerank.proxy.search.expand.rewording import WORD
from es_rerank.proxy.search.expand.search import count_words, own_search, read_absent
from es_rerank.proxy.search.plan import Plan
from es_rerank.proxy.search.query_text import read_query_fields
from es_rerank.proxy.search.request import SearchRequest

SHORTEST = 4
"""Letters from which a word can be told from its neighbours; the engines' own default too."""
MOST_WORDS = 10
SUGGESTIONS = 3


def find_words(text: str, shortest: int = SHORTEST) -> list[str]:
    """A text's words, those of letters alone, each once, in lower case."""
    words = [word.casefold() for word in WORD.findall(text)]
    return list(dict.fromkeys(w for w in words if len(w) >= shortest and w.isalpha()))[:MOST_WORDS]


def find_text_fields(plan: Plan) -> list[str]:
    """The index's text fields, of them those that the query names where it names any."""
    named = set(read_query_fields(plan.request))
    return [path for path in plan.fields.text if path in named] or list(plan.fields.text)


def suggestion_search(plan: Plan, words: Sequence[str]) -> SearchRequest:
    """One search that counts the documents with each word and asks for others spelt like it."""
    fields = find_text_fields(plan)
    suggest: dict[str, Any] = {
        field: {
            "text": " ".join(words),
            "term": {"field": field, "suggest_mode": "always", "size": SUGGESTIONS},
        }
        for field in fields
    }
    return own_search(plan, {**count_words(words, fields), "suggest": suggest})


def read_corrections(answer: Mapping[str, msgspec.Raw], words: Sequence[str]) -> dict[str, str]:
    """The best suggestion for each word that no document has: most alike, then most frequent.

    Raises KeyError, TypeError or msgspec.DecodeError where the answer lacks a part.
    """
    absent = read_absent(answer)
    text = " ".join(words)
    best: dict[str, tuple[float, int, str]] = {}
    for entries in msgspec.json.decode(answer["suggest"]).values():
        for entry in entries:
            word = text[entry["offset"] : entry["offset"] + entry["length"]]
            for option in entry["options"] if word in absent else ():
                found = (option["score"], option["freq"], option["text"])
                best[word] = max(found, best.get(word, found))
    return {word: found[2] for word, found in best.items()}
