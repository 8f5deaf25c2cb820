"""Synonyms that the catalogue itself teaches.

Attribute names are one where they compare alike (`Product Color`, `colour`), or where they take
the same values and no product has both. A type is also called what stands in the titles of its
products, and of no other type's, in the place of its own name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from es_rerank.enrich.graph.survey import Columns, Pool, Survey
from es_rerank.enrich.graph.words import respell

LEAST_PRODUCTS = 5  # that have an attribute
LEAST_VALUES = 3  # which two names share
LEAST_COSINE = 0.75
STRANGERS_COSINE, STRANGERS_VALUES = 0.9, 8  # of names without a word in common
MOST_TOGETHER = 0.02  # of the rarer one's products have both
SHORT_TITLE = 7  # words; a longer one is stuffed with what is searched for, or lists features
LEAST_TITLES = 5  # of a type
LEAST_SHARE, LEAST_PURITY, MOST_WITH_NAME = 0.1, 0.9, 0.34
LEAST_BRANDS = 2
MOST_SYNONYMS = 6


def learn_names(columns: Columns, names: Pool) -> NDArray[np.int32]:
    """For each attribute name the one that stands for it, itself where it has no synonym.

    Only names of texts are compared by their values: numbers are alike by chance.
    """
    size = len(names)
    canon = np.arange(size, dtype=np.int32)
    textual = np.array([name.endswith("\t") for name in names.names])
    told = columns.value_names
    rows = np.repeat(np.arange(columns.count), np.diff(columns.value_starts))
    counts = np.bincount(told, minlength=size)
    known = np.flatnonzero(textual & (counts >= LEAST_PRODUCTS))
    if len(known) < 2:
        return canon
    place = np.full(size, -1)
    place[known] = np.arange(len(known))
    chosen = place[told] >= 0
    at = place[told[chosen]]
    ones = np.ones(int(chosen.sum()), np.float32)
    values = columns.values[chosen].astype(np.int64)
    by_value = csr_matrix((ones, (at, values)), shape=(len(known), int(values.max()) + 1))
    by_value.sum_duplicates()
    shared = (by_value > 0).astype(np.float32)
    common = (shared @ shared.T).tocoo()
    by_product = csr_matrix((ones, (at, rows[chosen])), shape=(len(known), columns.count))
    by_product.data[:] = 1
    together = (by_product @ by_product.T).tocsr()
    length = np.sqrt(np.asarray(by_value.multiply(by_value).sum(axis=1)).ravel())
    likeness = (by_value @ by_value.T).tocsr()
    pairs = []
    for a, b, values_shared in zip(common.row, common.col, common.data, strict=True):
        if a >= b or values_shared < LEAST_VALUES:
            continue
        cosine = likeness[a, b] / (length[a] * length[b])
        rarer = min(counts[known[a]], counts[known[b]])
        akin = _words(names, known[a]) & _words(names, known[b])
        if not akin and (cosine < STRANGERS_COSINE or values_shared < STRANGERS_VALUES):
            continue
        if cosine >= LEAST_COSINE and together[a, b] <= MOST_TOGETHER * rarer:
            pairs.append((float(cosine), int(known[a]), int(known[b])))
    # The surest first; a name joins the commoner one, and none is joined by way of a third.
    for _, a, b in sorted(pairs, key=lambda pair: (-pair[0], pair[1:])):
        common_one, other = (a, b) if counts[a] >= counts[b] else (b, a)
        free = canon[common_one] == common_one and canon[other] == other
        if free and not np.any(canon[np.arange(size) != other] == other):
            canon[other] = common_one
    return canon


def _words(names: Pool, number: int) -> frozenset[str]:
    return frozenset(respell(names.names[number].partition("\t")[0].replace("_", " ")).split())


def learn_types(survey: Survey) -> dict[int, tuple[str, ...]]:
    """For each type what else it is called, the commonest first."""
    titles = {
        kind: [
            (title.split(), brand)
            for _, title, brand in sorted(held)
            if len(title.split()) <= SHORT_TITLE
        ]
        for kind, held in survey.samples.items()
    }
    holders: Counter[str] = Counter()  # types, by how many of their titles hold a phrase
    shares: dict[int, Counter[str]] = {}
    for kind, held in titles.items():
        counts = Counter(phrase for tokens, _ in held for phrase in set(_phrases(tokens)))
        shares[kind] = Counter({phrase: n for phrase, n in counts.items() if n > 1})
        for phrase, n in counts.items():
            holders[phrase] += n / len(held)  # type: ignore[assignment]
    features = {
        *survey.texts.known,
        *(key.partition("\t")[0] for key in survey.names.known),
    }
    return {
        kind: found
        for kind, held in titles.items()
        if len(held) >= LEAST_TITLES
        and (found := _other_names(survey.types.names[kind], held, shares[kind], holders, features))
    }


def _other_names(
    name: str,
    titles: Sequence[tuple[list[str], int]],
    counts: Mapping[str, int],
    holders: Mapping[str, float],
    features: Container[str],
) -> tuple[str, ...]:
    own = respell(name)
    spelt = [f" {respell(' '.join(tokens))} " for tokens, _ in titles]
    named = [f" {own} " in title for title in spelt]
    found = []
    for phrase, count in counts.items():
        share = count / len(titles)
        if share < LEAST_SHARE or share / holders[phrase] < LEAST_PURITY:
            continue
        spelling = respell(phrase)
        if spelling in own or spelling in features:
            continue
        holding = [place for place, (tokens, _) in enumerate(titles) if _holds(tokens, phrase)]
        if len({titles[place][1] for place in holding}) < LEAST_BRANDS:
            continue
        if sum(named[place] for place in holding) > MOST_WITH_NAME * len(holding):
            continue
        found.append((-share, -len(phrase), phrase))
    chosen: list[str] = []
    for _, _, phrase in sorted(found):
        if not any(phrase in other or other in phrase for other in chosen):
            chosen.append(phrase)
    return tuple(chosen[:MOST_SYNONYMS])


def _phrases(tokens: Sequence[str]) -> list[str]:
    """Runs of one to three words without digits."""
    runs = []
    for length in (1, 2, 3):
        for at in range(len(tokens) - length + 1):
            run = tokens[at : at + length]
            if all(word.isalpha() and len(word) > 2 for word in run):
                runs.append(" ".join(run))
    return runs


def _holds(tokens: Sequence[str], phrase: str) -> bool:
    return f" {phrase} " in f" {' '.join(tokens)} "
