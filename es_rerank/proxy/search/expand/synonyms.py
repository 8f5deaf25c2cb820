"""Other words: what the catalogue calls the things that a shopper's unknown words mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from es_rerank.proxy.scoring.job import NotReadyError, OverloadedError
from es_rerank.proxy.search.expand.fuse import Found
from es_rerank.proxy.search.expand.knn import LEXICAL_PARAMETERS, refuse_oddities, shape_hits
from es_rerank.proxy.search.expand.rewording import reword_plan
from es_rerank.proxy.search.expand.search import (
    NotExpandedError,
    Sender,
    count_words,
    own_search,
    read_absent,
)
from es_rerank.proxy.search.expand.spelling import find_text_fields, find_words
from es_rerank.proxy.search.expand.vocabulary import SHORTEST, Vocabularies, Vocabulary
from es_rerank.proxy.search.plan import Plan
from es_rerank.proxy.search.ranker import Ranker
from es_rerank.proxy.search.request import SearchRequest
from es_rerank.proxy.search.splice import AnswerError
from es_rerank.proxy.upstream import AnswerTooLargeError, UpstreamError

QUERY_KEYS = ("query", "post_filter", "indices_boost")
ALIKE = 0.7
"""Cosine from which two words are taken to mean the same."""
NEIGHBOURS = 2
"""Words of the catalogue that take the place of one unknown word."""
MOST_REMEMBERED = 10_000


class SynonymFinder:
    """Searches again with the catalogue's words for those it does not know."""

    def __init__(self, sender: Sender, ranker: Ranker) -> None:
        self._sender = sender
        self._ranker = ranker
        self._vocabularies = Vocabularies(sender, ranker)

    async def find(self, plan: Plan) -> Found | None:
        """Search with other words; None where the index knows all words, or no others for them.

        Raises NotExpandedError.
        """
        assert plan.query is not None, "looked for only where there are words"
        refuse_oddities(plan.request, "synonyms-request")
        vocabulary = self._vocabularies.find(plan)
        if vocabulary is None:
            raise NotExpandedError("synonyms-learning")
        try:
            absent = await self._find_absent(plan, vocabulary)
            if not absent:
                return None
            vectors = await self._ranker.embed(absent)
            if vectors is None:
                return None
            nearest = vocabulary.nearest(vectors, ALIKE, NEIGHBOURS)
            others = {
                word: " ".join(near) for word, near in zip(absent, nearest, strict=True) if near
            }
            if not others:
                return None
            reworded = reword_plan(plan, others)
            if reworded.request == reword_plan(plan, {}).request:
                return None  # the words stand where they cannot be changed safely
            found = await self._sender.search(synonym_search(reworded))
            return Found("synonyms", found.hits)
        except (NotReadyError, OverloadedError):
            raise NotExpandedError("synonyms-model") from None
        except (AnswerError, AnswerTooLargeError, UpstreamError):
            raise NotExpandedError("synonyms-failed") from None
        except (KeyError, TypeError, msgspec.DecodeError):
            raise NotExpandedError("synonyms-failed") from None

    async def _find_absent(self, plan: Plan, vocabulary: Vocabulary) -> Sequence[str]:
        """The query's words that no document has. Asked of the cluster once for each word."""
        known = set(vocabulary.words)
        words = [word for word in find_words(plan.query or "", SHORTEST) if word not in known]
        new = [word for word in words if word not in vocabulary.absent]
        if new:
            counts = own_search(plan, count_words(new, find_text_fields(plan)))
            absent = read_absent((await self._sender.search(counts)).body)
            if len(vocabulary.absent) > MOST_REMEMBERED:
                vocabulary.absent.clear()
            vocabulary.absent.update((word, word in absent) for word in new)
        return [word for word in words if vocabulary.absent[word]]


def synonym_search(plan: Plan) -> SearchRequest:
    """The client's own query in other words, each hit in the form that the client's own have."""
    wide = shape_hits(plan, LEXICAL_PARAMETERS)
    query = {key: plan.request.body[key] for key in QUERY_KEYS if key in plan.request.body}
    return replace(wide, body={**wide.body, **query})
