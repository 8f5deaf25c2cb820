"""The catalogue's own words, learnt from a sample of an index and kept with their vectors."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from es_rerank import telemetry
from es_rerank.proxy.scoring.job import NotReadyError
from es_rerank.proxy.search.expand.rewording import WORD
from es_rerank.proxy.search.expand.search import Sender, own_search
from es_rerank.proxy.search.plan import Plan
from es_rerank.proxy.search.ranker import Ranker
from es_rerank.proxy.search.request import SearchRequest
from es_rerank.proxy.search.splice import AnswerError
from es_rerank.proxy.upstream import AnswerTooLargeError, UpstreamError, principal

SAMPLE = 2000
"""Documents read at random; the words of the rest are rare ones."""
COMMON = 3
"""Documents of the sample that a word must stand in: not a slip of the pen."""
MOST_WORDS = 3000
SHORTEST = 3
FRESH_S = 900.0
RETRY_S = 60.0
ENTRIES = 50
log = telemetry.get_logger()


@dataclass(frozen=True)
class Vocabulary:
    """An index's words with their unit vectors, (n, d), and of others whether it has them."""

    words: tuple[str, ...]
    vectors: NDArray[np.float32]
    absent: dict[str, bool] = field(default_factory=dict)

    def nearest(self, vectors: NDArray[np.float32], least: float, count: int) -> list[list[str]]:
        """For each vector the `count` nearest words, none below the cosine `least`."""
        if not self.words:
            return [[] for _ in vectors]
        cosines = vectors @ self.vectors.T
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        return [
            [self.words[i] for i in row if cosines[at, i] >= least] for at, row in enumerate(order)
        ]


class Vocabularies:
    """Vocabularies by index and caller, learnt in the background, one at a time.

    With the caller's own credentials, so that nobody's search is led by words that stand in
    documents he may not read.
    """

    def __init__(self, sender: Sender, ranker: Ranker) -> None:
        self._sender = sender
        self._ranker = ranker
        self._known: OrderedDict[bytes, tuple[float, Vocabulary | None]] = OrderedDict()
        self._learning: asyncio.Task[None] | None = None

    def find(self, plan: Plan) -> Vocabulary | None:
        """The index's vocabulary; None while it is not known. One that is old is learnt anew."""
        asker = (plan.request.path, plan.fields.text, *principal(plan.request.headers))
        key = hashlib.sha256(repr(asker).encode()).digest()
        until, vocabulary = self._known.get(key, (0.0, None))
        idle = self._learning is None or self._learning.done()
        if until < time.monotonic() and idle:
            self._learning = asyncio.create_task(self._learn(key, plan, vocabulary))
        return vocabulary

    async def _learn(self, key: bytes, plan: Plan, before: Vocabulary | None) -> None:
        began = time.monotonic()
        try:
            sample = (await self._sender.search(sample_search(plan))).hits
            words = count_common([read_words(hit) for hit in sample])
            vectors = await self._ranker.embed_in_background(words)
            learnt: Vocabulary | None = Vocabulary(tuple(words), vectors)
            until = time.monotonic() + FRESH_S
            log.info("vocabulary learnt", words=len(words), seconds=round(until - began - FRESH_S))
        except (AnswerError, AnswerTooLargeError, UpstreamError, NotReadyError):
            learnt, until = before, time.monotonic() + RETRY_S
        self._known[key] = (until, learnt)
        self._known.move_to_end(key)
        while len(self._known) > ENTRIES:
            self._known.popitem(last=False)


def list_fields(plan: Plan) -> list[str]:
    """Where the catalogue's words stand: texts and attributes."""
    return list(dict.fromkeys([*plan.fields.text, *plan.fields.attributes]))


def sample_search(plan: Plan) -> SearchRequest:
    """A search for random documents, the same ones each time."""
    chance = {"random_score": {"seed": 7, "field": "_seq_no"}}
    body = {
        "size": SAMPLE,
        "track_total_hits": False,
        "_source": False,
        "fields": list_fields(plan),
        "query": {"function_score": {"query": {"match_all": {}}, **chance}},
    }
    return own_search(plan, body)


def read_words(hit: Mapping[str, msgspec.Raw]) -> set[str]:
    """The words in a hit's `fields`: those of letters alone, in lower case."""
    fields = msgspec.json.decode(hit["fields"]) if "fields" in hit else {}
    texts = (str(value) for values in fields.values() for value in values)
    found = (word.casefold() for text in texts for word in WORD.findall(text))
    return {word for word in found if len(word) >= SHORTEST and word.isalpha()}


def count_common(documents: Iterable[set[str]]) -> list[str]:
    """The words that stand in several documents, most frequent first."""
    counts = Counter(word for words in documents for word in words)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [word for word, count in ordered if count >= COMMON][:MOST_WORDS]
