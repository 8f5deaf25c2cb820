"""The graph of a whole catalogue: what was surveyed, joined, so that a product can be linked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.enrich.graph import families, fits, substitutes, synonyms
from es_rerank.enrich.graph.edges import (
    ACCESSORY,
    BOUGHT_WITH,
    COMPATIBLE,
    GOES_WITH,
    SIMILAR,
    VARIANT,
    Edge,
    make_patch,
)
from es_rerank.enrich.graph.facts import NUMBER, Facts
from es_rerank.enrich.graph.survey import (
    NONE,
    Columns,
    Survey,
    code_key,
    group_key,
    hash_tokens,
    name_key,
    opening_key,
)
from es_rerank.enrich.graph.units import CANONICAL, show_quantity
from es_rerank.enrich.graph.vocabulary import Vocabulary
from es_rerank.enrich.graph.words import fold, hash_token, respell, tokenise

SERVICE = re.compile(r"\b(?:warranty|guarantee|service|support)\b|保修|延保|服务")
"""Types of what is no thing, and so no thing's host."""
LEAST_ALIKE = 0.5  # of substitutes
AGREED = 0.9  # of an attribute, to be named as a reason
Bought = Mapping[str, Sequence[tuple[str, int]]]
"""By product, what was bought with it, and how often."""


@dataclass(frozen=True)
class Link:
    """A product that is made for, or goes with, another. target: the family's first row."""

    target: int
    phrase: str
    confidence: float


@dataclass
class Graph:
    """All that is known of the catalogue. most: edges of a product for each predicate."""

    survey: Survey
    columns: Columns
    canon: NDArray[np.int32]
    kinds: dict[int, tuple[str, ...]]  # what else a type is called
    ranks: NDArray[np.int64]  # rows by id: what decides between equals, whatever order they came in
    titles: fits.Titles
    families: families.Families
    bought: Bought
    most: int
    accessories: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    hosts: dict[int, list[tuple[int, str, float]]] = field(default_factory=dict)
    _shelves: dict[int, substitutes.Shelf] = field(default_factory=dict)
    _words: dict[int, frozenset[int]] = field(default_factory=dict)

    @cached_property
    def measured(self) -> NDArray[np.bool_]:
        """By number of an attribute's name, whether its values are quantities."""
        return np.array([not name.endswith("\t") for name in self.survey.names.names])

    @cached_property
    def _by_type(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        order = np.argsort(self.columns.types, kind="stable")
        return order, self.columns.types[order]

    def vocabulary(self) -> Vocabulary:
        """What else types and attributes are called."""
        names: dict[str, list[str]] = {}
        for number in np.flatnonzero(self.canon != np.arange(len(self.canon))).tolist():
            names.setdefault(self._name(int(self.canon[number])), []).append(self._name(number))
        types = {self.survey.types.names[kind]: words for kind, words in self.kinds.items()}
        return Vocabulary(types, {name: sorted(words) for name, words in names.items()})

    def patch(self, facts: Facts) -> dict[str, Any]:
        """What a document gets under `es_rerank.graph`."""
        keys = self._keys(facts)
        family = self.families.find(keys)
        rows = self.families.rows(family) if family >= 0 else np.empty(0, np.int64)
        alone = all(self.columns.ids[row] == facts.id for row in rows.tolist()[:2])
        first = None if alone else self.columns.ids[self._first(rows)]
        return make_patch(
            kind=self.survey.types.names[self._type(facts)] or facts.type,
            synonyms=self.kinds.get(self._type(facts), ()),
            brand=facts.brand,
            family=first,
            attributes=sorted(set(self._attributes(facts))),
            edges=self._edges(facts, family, keys),
        )

    def _edges(self, facts: Facts, family: int, keys: Mapping[str, int]) -> list[Edge]:
        own = self._values(facts)
        return [
            *self._variants(facts, family, keys, own),
            *self._similar(facts, family, own),
            *self._made_for(facts),
            *self._goes_with(facts, family),
            *self._bought_with(facts),
        ]

    def _keys(self, facts: Facts) -> dict[str, int]:
        return {
            "group": group_key(facts),
            "code": code_key(facts),
            "title": families.title_key(
                fold(facts.brand),
                str(self._type(facts)),
                self._without_codes(hash_tokens(facts.head + facts.tail)),
                self._type_words(self._type(facts)),
            ),
            "opening": opening_key(facts),
        }

    def title_keys(self) -> NDArray[np.uint64]:
        """The key of each row's title, (n,)."""
        columns = self.columns
        words, counts = np.unique(columns.tokens, return_counts=True)
        counts = counts[np.searchsorted(words, columns.tokens)]
        kinds = [self._type_words(kind) for kind in range(len(self.survey.types))]
        keys = np.zeros(columns.count, np.uint64)
        for row in range(columns.count):
            span = slice(columns.token_starts[row], columns.token_starts[row + 1])
            kind = int(columns.types[row])
            keys[row] = families.title_key(
                fold(self.survey.brands.names[columns.brands[row]]),
                str(kind),
                families.strip_codes(columns.tokens[span].tolist(), counts[span].tolist()),
                kinds[kind],
            )
        return keys

    def _without_codes(self, tokens: Sequence[int]) -> list[int]:
        counts = [self.titles.count(token) if token & 1 else 2 for token in tokens]
        return families.strip_codes(tokens, counts)

    def _type(self, facts: Facts) -> int:
        return self.survey.types.find(facts.type, respell(facts.type))

    def _type_words(self, kind: int) -> frozenset[int]:
        known = self._words.get(kind)
        if known is None:
            known = self._words[kind] = self._read_type(kind)
        return known

    def _read_type(self, kind: int) -> frozenset[int]:
        named = tokenise(fold(self.survey.types.names[kind]))
        return frozenset(map(hash_token, [*named, *map(respell, named)]))

    def _first(self, rows: NDArray[np.int64]) -> int:
        return int(rows[np.argmin(self.ranks[rows])])

    def _ordered(self, rows: NDArray[np.int64]) -> list[int]:
        found: list[int] = rows[np.argsort(self.ranks[rows], kind="stable")].tolist()
        return found

    def _variants(
        self, facts: Facts, family: int, keys: Mapping[str, int], own: Mapping[int, float]
    ) -> list[Edge]:
        if family < 0:
            return []
        found = []
        for row in self._ordered(self.families.rows(family)):
            if self.columns.ids[row] == facts.id:
                continue
            theirs = self._row_values(row)
            kind = next(
                (k for k, key in keys.items() if key and int(self.families.keys[k][row]) == key),
                None,
            )
            sure = families.CONFIDENCE[kind] if kind else families.INDIRECT
            why = families.WHY[kind] if kind else "the same model by way of another listing"
            differs = [name for name in own if name in theirs and own[name] != theirs[name]]
            found.append((len(differs) or 99, -sure, row, sure, why, differs, theirs))
        # Those that differ in least first; other offers of the very same come last.
        found.sort(key=lambda each: (each[0], each[1], self.ranks[each[2]]))
        edges = []
        for _, _, row, sure, why, differs, theirs in found[: self.most]:
            told = "; ".join(
                f"{self._name(name)} {self._show(name, theirs[name])}, here "
                f"{self._show(name, own[name])}"
                for name in differs[:3]
            )
            reason = f"{why}; {told or 'another offer of the same'}"
            edges.append(Edge(VARIANT, self.columns.ids[row], sure, reason))
        return edges

    def _similar(self, facts: Facts, family: int, own: Mapping[int, float]) -> list[Edge]:
        shelf = self._shelf(self._type(facts))
        if shelf is None:
            return []
        price = math.log(facts.price) if facts.price else -math.inf
        window = shelf.around(price)
        tokens = substitutes.bloom_tokens(hash_tokens(facts.head + facts.tail))
        scores, alike = substitutes.compare(shelf, window, own, price, tokens)
        rows = shelf.rows[window]
        order = np.lexsort((self.ranks[rows], -np.round(scores, 4)))
        edges: list[Edge] = []
        seen = {family}
        fitted = self._named_by(facts.fits)
        for place in order.tolist():
            row = int(rows[place])
            label = int(self.families.labels[row])
            if scores[place] < LEAST_ALIKE or len(edges) == self.most:
                break
            if label in seen or self.columns.ids[row] == facts.id:
                continue
            if fitted and not fitted & (self._fitted(row) or fitted):
                continue
            seen.add(label)
            agreed = np.flatnonzero(alike[place] >= AGREED)
            agreed = agreed[np.argsort(-shelf.weights[agreed], kind="stable")][:3]
            said = [
                f"{self._name(int(name))} {self._show(int(name), own[int(name)])}"
                for name in shelf.names[agreed]
            ]
            reason = f"the same type; {', '.join(said) or 'alike'}"
            theirs = float(self.columns.prices[row])
            if facts.price and theirs:
                reason += f"; price {100 * (theirs / facts.price - 1):+.0f} %"
            edges.append(Edge(SIMILAR, self.columns.ids[row], float(scores[place]), reason))
        return edges

    def _named_by(self, phrases: Sequence[str]) -> frozenset[tuple[int, ...]]:
        """What phrases name, as words: what does not fit the same is no substitute."""
        named = (fits.read_phrase(phrase, self.survey.brands) for phrase in phrases)
        return frozenset(each.words for each in named if each.telling)

    def _fitted(self, row: int) -> frozenset[tuple[int, ...]]:
        held = self.survey.phrases.get(row)
        return self._named_by(held.fits) if held else frozenset()

    def _made_for(self, facts: Facts) -> list[Edge]:
        edges: dict[str, Edge] = {}
        others: dict[str, Edge] = {}
        for phrase in facts.fits:
            where = "a field says" if phrase in facts.said else "the title says"
            found = self.find(phrase, facts)
            for link in found:
                key = self.columns.ids[link.target]
                reason = f"{where}: for {link.phrase}"
                if key != facts.id and key not in edges:
                    edges[key] = Edge(ACCESSORY, key, link.confidence, reason)
            named = fits.read_phrase(phrase, self.survey.brands)
            if not found and named.telling:
                key = fold(phrase)
                others.setdefault(key, Edge(COMPATIBLE, key, 0.8, f"{where}: for {phrase}"))
        ranked = sorted(edges.values(), key=lambda edge: (-edge.confidence, edge.object))
        return [*ranked[: self.most], *list(others.values())[: self.most]]

    def _goes_with(self, facts: Facts, family: int) -> list[Edge]:
        found: dict[str, Edge] = {}
        if family >= 0:
            for row, phrase, sure in self.hosts.get(family, ()):
                key = self.columns.ids[row]
                reason = f"it is made for {phrase}"
                found.setdefault(key, Edge(GOES_WITH, key, sure, reason))
        for phrase in facts.goes_with:
            for link in self.find(phrase, facts):
                key = self.columns.ids[link.target]
                reason = f"mentioned together: {link.phrase}"
                found.setdefault(key, Edge(GOES_WITH, key, 0.8 * link.confidence, reason))
        found.pop(facts.id, None)
        ranked = sorted(found.values(), key=lambda edge: (-edge.confidence, edge.object))
        return ranked[: self.most]

    def _bought_with(self, facts: Facts) -> list[Edge]:
        return [
            Edge(BOUGHT_WITH, key, count / (count + 2), f"bought together {count} times")
            for key, count in self.bought.get(facts.id, ())[: self.most]
        ]

    def find(self, phrase: str, facts: Facts) -> list[Link]:
        """The families that a phrase names, the product's own type left out."""
        named = fits.read_phrase(phrase, self.survey.brands)
        return self._find(
            named,
            self.survey.brands.find(fold(facts.brand)),
            tuple(self.survey.brands.find(fold(maker)) for maker in facts.makers),
            self._type(facts),
        )

    def _find(
        self, named: fits.Named, brand: int, makers: tuple[int, ...], kind: int
    ) -> list[Link]:
        found = fits.resolve(
            named,
            self.titles,
            own_brand=brand,
            makers=[maker for maker in makers if maker],
            own_type=kind,
            accessories=self.accessories,
        )
        best: dict[int, float] = {}
        for row, sure in found:
            label = int(self.families.labels[row])
            best[label] = max(best.get(label, 0.0), sure)
        if len(best) > (fits.MOST_FAMILIES if named.coded else fits.MOST_UNCODED):
            return []
        return [
            Link(self._first(self.families.rows(label)), named.phrase, sure)
            for label, sure in best.items()
        ]

    def join_accessories(self) -> None:
        """Find for each family what is made for it."""
        brands = self.survey.brands
        count = self.columns.count
        made_for = np.zeros(count, np.bool_)
        told: dict[int, list[fits.Named]] = {}
        for row, phrases in self.survey.phrases.items():
            read = [fits.read_phrase(phrase, brands) for phrase in phrases.fits]
            told[row] = [each for each in read if each.telling]
            made_for[row] = bool(told[row])
        services = [k for k, name in enumerate(self.survey.types.names) if SERVICE.search(name)]
        self.accessories = fits.find_accessories(made_for, self.columns, services)
        self._mark_lists(told)
        known: dict[Any, list[Link]] = {}
        hosts: dict[int, dict[int, tuple[int, str, float]]] = {}
        for row in sorted(told, key=lambda row: int(self.ranks[row])):
            makers = tuple(brands.find(fold(m)) for m in self.survey.phrases[row].makers)
            brand, kind = int(self.columns.brands[row]), int(self.columns.types[row])
            for named in told[row]:
                key = named.brand, named.words, brand, makers, kind
                links = known.get(key)
                if links is None:
                    links = known[key] = self._find(named, brand, makers, kind)
                for link in links:
                    host = int(self.families.labels[link.target])
                    label = int(self.families.labels[row])
                    mine = hosts.setdefault(host, {})
                    if label not in mine and label != host:
                        mine[label] = row, named.phrase, link.confidence
        self.hosts = {
            host: sorted(mine.values(), key=lambda each: (-each[2], int(self.ranks[each[0]])))[
                : self.most
            ]
            for host, mine in hosts.items()
        }

    def _mark_lists(self, told: Mapping[int, Sequence[fits.Named]]) -> None:
        """A title that lists several models is no model's own: `C780, C782 Forms Card`."""
        numbers: dict[int, set[int]] = {}
        known: set[Any] = set()
        for row, phrases in told.items():
            brand, kind = int(self.columns.brands[row]), int(self.columns.types[row])
            for named in phrases:
                key = named.brand, named.words, brand, kind
                if not named.coded or key in known:
                    continue
                known.add(key)
                found = fits.resolve(
                    named,
                    self.titles,
                    own_brand=brand,
                    makers=(),
                    own_type=kind,
                    accessories=self.accessories,
                )
                number = next(word for word in reversed(named.words) if word & 1)
                for other, _ in found:
                    numbers.setdefault(other, set()).add(number)
        self.accessories[[row for row, told in numbers.items() if len(told) > 1]] = True

    def _shelf(self, kind: int) -> substitutes.Shelf | None:
        if kind == NONE:
            return None
        held = self._shelves.get(kind)
        if held is None:
            order, types = self._by_type
            low, high = np.searchsorted(types, kind, "left"), np.searchsorted(types, kind, "right")
            held = self._shelves[kind] = substitutes.fill_shelf(
                order[low:high], self.ranks, self.columns, self.measured
            )
        return held

    def _values(self, facts: Facts) -> dict[int, float]:
        """The product's attributes by number, texts as their numbers; of several the first."""
        found: dict[int, float] = {}
        for name, dimension, value in facts.attributes:
            number = int(self.canon[self.survey.names.find(*name_key(name, dimension))])
            if number == NONE:
                continue
            told = (
                self.survey.texts.find(value, respell(value)) if isinstance(value, str) else value
            )
            found.setdefault(number, float(told))
        return found

    def _row_values(self, row: int) -> dict[int, float]:
        columns = self.columns
        span = slice(columns.value_starts[row], columns.value_starts[row + 1])
        found: dict[int, float] = {}
        for name, value in zip(
            columns.value_names[span].tolist(), columns.values[span].tolist(), strict=True
        ):
            found.setdefault(name, value)
        return found

    def _attributes(self, facts: Facts) -> list[str]:
        shown = []
        for name, dimension, value in facts.attributes:
            number = int(self.canon[self.survey.names.find(*name_key(name, dimension))])
            label = self._name(number) if number else name
            if isinstance(value, str):
                known = self.survey.texts.find(value, respell(value))
                shown.append(f"{label}: {self.survey.texts.names[known] or value}")
            else:
                shown.append(f"{label}: {show_quantity(value, CANONICAL.get(dimension, ''))}")
        return shown

    def _name(self, number: int) -> str:
        return self.survey.names.names[number].partition("\t")[0].replace("_", " ")

    def _show(self, number: int, value: float) -> str:
        dimension = self.survey.names.names[number].partition("\t")[2]
        if not dimension:
            return self.survey.texts.names[int(value)]
        return show_quantity(value, "" if dimension == NUMBER else CANONICAL[dimension])


def settle(survey: Survey, bought: Bought | None = None, *, most: int = 8) -> Graph:
    """Join what has been surveyed. most: edges of a product for each predicate."""
    columns = survey.columns()
    canon = synonyms.learn_names(columns, survey.names)
    columns.value_names[:] = canon[columns.value_names]
    ranks = np.empty(columns.count, np.int64)
    ranks[np.array(sorted(range(columns.count), key=columns.ids.__getitem__), np.int64)] = (
        np.arange(columns.count)
    )
    titles = fits.index_titles(columns)
    graph = Graph(
        survey,
        columns,
        canon,
        synonyms.learn_types(survey),
        ranks,
        titles,
        families.find_families({}, columns),
        bought or {},
        most,
    )
    keys = {
        "group": columns.groups,
        "code": columns.codes,
        "title": graph.title_keys(),
        "opening": columns.openings,
    }
    graph.families = families.find_families(keys, columns)
    graph.join_accessories()
    return graph
