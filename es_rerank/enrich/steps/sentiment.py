"""What a product's reviews say: praise or blame, of what, and in whose words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.cluster.document import Document, read_values
from es_rerank.enrich.steps.aspects import AspectFinder, split_clauses
from es_rerank.enrich.steps.recipe import SentimentRecipe
from es_rerank.enrich.steps.reviews import ReviewFile, Seen, Shape, find_reviews
from es_rerank.models.sentiment.head import BLAME, NEITHER, PRAISE, polarities
from es_rerank.models.sentiment.reader import SentimentReader

EDITION = 1  # raised when the same reviews and model give something else
DECIMALS = 3
MAX_PHRASE = 120
BATCH = 512  # texts read at a time
Mention = tuple[float, str]  # polarity, clause


class SentimentEnricher:
    """Add `sentiment`; nothing where a product has no review.

    load: loads the model at first need. file: reviews that lie apart from the documents.
    """

    name = "sentiment"

    def __init__(
        self,
        load: Callable[[], SentimentReader],
        wish: SentimentRecipe,
        aspects: Mapping[str, Sequence[str]],
        load_file: Callable[[], ReviewFile] | None = None,
    ) -> None:
        self._load = load
        self._wish = wish
        self._shape = Shape(wish.field, wish.text_field, wish.rating_field)
        self._finder = AspectFinder(aspects)
        self._load_file = load_file
        self._reader: SentimentReader | None = None
        self._file: ReviewFile | None = None

    def enrich(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        """Read the reviews of all documents, and the clauses about aspects, in few calls."""
        reviews = [self._reviews(document) for document in documents]
        clauses: dict[str, list[tuple[str, list[str]]]] = {}
        texts: dict[str, int] = {}
        for own in reviews:
            for review in own:
                texts.setdefault(review.text, len(texts))
                if review.text not in clauses:
                    clauses[review.text] = [
                        (clause, names)
                        for clause in split_clauses(review.text)
                        if (names := self._finder.find(clause))
                    ]
                    for clause, _ in clauses[review.text]:
                        texts.setdefault(clause, len(texts))
        said = self._read(list(texts))
        polarity = polarities(said)
        patches: list[dict[str, Any]] = []
        for own in reviews:
            if not own:
                patches.append({})
                continue
            rows = [texts[review.text] for review in own]
            mentions: dict[str, list[Mention]] = defaultdict(list)
            for review in own:
                for clause, names in clauses[review.text]:
                    for name in names:
                        mentions[name].append((float(polarity[texts[clause]]), clause))
            summed = sum_up(said[rows], [review.stars for review in own], self._wish)
            told = {**summed, "aspects": sum_aspects(mentions), "model": self._wish.model}
            patches.append({"sentiment": told})
        return patches

    def _reviews(self, document: Document) -> list[Seen]:
        most = self._wish.max_reviews
        found = find_reviews(document.source, self._shape, most)
        if self._load_file is None:
            return found
        if self._file is None:
            self._file = self._load_file()
        own = self._wish.id_field
        keys = [str(value) for value in read_values(document.source, own)] if own else [document.id]
        texts = {review.text: review for review in found}
        for key in keys:
            for review in self._file.of(key):
                texts.setdefault(review.text, review)
        return list(texts.values())[:most]

    def _read(self, texts: list[str]) -> NDArray[np.float64]:
        if not texts:
            return np.zeros((0, 3))
        if self._reader is None:
            self._reader = self._load()
        parts = [
            self._reader.read(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)
        ]
        return np.concatenate(parts)


def sum_up(
    said: NDArray[np.float64], stars: Sequence[float | None], wish: SentimentRecipe
) -> dict[str, Any]:
    """A product's figures. said: (n, 3) of its reviews, n >= 1. stars: of each, None without.

    mean is the polarity with `prior` reviews of `prior_mean` beside it, as in a Bayesian average;
    confidence the mean probability of what was read, times n / (n + prior).
    """
    polarity = polarities(said)
    count = len(said)
    kinds = said.argmax(axis=1)
    weight = count + wish.prior
    mean = (float(polarity.sum()) + wish.prior * wish.prior_mean) / weight
    known = [each for each in stars if each is not None]
    return {
        "polarity": _short(polarity.mean()),
        "mean": _short(mean),
        "confidence": _short(said.max(axis=1).mean() * count / weight),
        "count": count,
        "positive": int((kinds == PRAISE).sum()),
        "neutral": int((kinds == NEITHER).sum()),
        "negative": int((kinds == BLAME).sum()),
        **({"stars": _short(np.mean(known))} if known else {}),
    }


def sum_aspects(mentions: Mapping[str, Sequence[Mention]]) -> list[dict[str, Any]]:
    """Each aspect that is spoken of, most often first, with its clearest praise and blame."""
    found = []
    for name, own in mentions.items():
        best, worst = max(own), min(own)
        aspect: dict[str, Any] = {
            "name": name,
            "polarity": _short(np.mean([value for value, _ in own])),
            "count": len(own),
            "positive": sum(value > 0 for value, _ in own),
            "negative": sum(value < 0 for value, _ in own),
        }
        if best[0] > 0:
            aspect["praise"] = shorten(best[1])
        if worst[0] < 0:
            aspect["blame"] = shorten(worst[1])
        found.append(aspect)
    return sorted(found, key=lambda aspect: (-aspect["count"], aspect["name"]))


def shorten(phrase: str) -> str:
    """A clause on one line and at most MAX_PHRASE characters."""
    phrase = " ".join(phrase.split())
    return phrase if len(phrase) <= MAX_PHRASE else f"{phrase[: MAX_PHRASE - 1].rstrip()}…"


def _short(value: Any) -> float:
    return round(float(value), DECIMALS) + 0.0  # no -0.0
