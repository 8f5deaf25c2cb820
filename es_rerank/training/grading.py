"""What a product is worth for a wish: 0 to 3, or None where the catalogue does not tell.

A type that was only guessed, or an attribute that is not stated, says nothing either way: such
pairs are left out of training, not counted as bad.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from es_rerank.training.catalogue import Product, fold
from es_rerank.training.wishes import Shelf, Wish
from es_rerank.training.words import bag

PERFECT = 3.0
GOOD = 2.0
MISSED = 1.0
"""The right type, but one condition is not met."""
KIN = 0.5
"""Another type of the same sort: an HDMI cable for a USB cable."""
GROUND = 0.25
NEAR_DUPLICATE = 0.7
"""Overlap of two titles' words (Jaccard) from which two products are one with another label."""


@dataclass(frozen=True)
class Judge:
    """Grades products for wishes."""

    shelf: Shelf

    def grade(self, wish: Wish, product: Product) -> float | None:
        """The grade, 0 to 3, or None where nothing is known."""
        if wish.kind in {"sentence", "praise"}:
            return self._grade_quote(wish, product)
        if wish.words:
            return self._grade_title(wish, product)
        if wish.kind == "brand":
            return self._grade_brand(wish, product)
        kind = judge_type(wish.types, product, wish.said)
        if kind is None or kind == 0.0:
            return kind
        if wish.fits is not None:
            if any(wish.fits in fold(each) or fold(each) in wish.fits for each in product.fits):
                return PERFECT if kind == 1.0 else KIN
            return None if not product.fits and wish.fits in fold(product.text) else KIN * kind
        missed = 0
        if wish.brand is not None:
            if product.brand is None:
                return None
            missed += fold(product.brand) != wish.brand
        for name, value in wish.attributes.items():
            stated = product.attributes.get(name)
            if stated is not None and value in stated:
                continue
            if bag(value) <= bag(product.text):
                continue
            if stated is None:
                return None
            missed += 1
        if kind < 1.0:
            return kind if missed == 0 else 0.0
        return (PERFECT, MISSED, GROUND)[min(missed, 2)]

    def _grade_brand(self, wish: Wish, product: Product) -> float | None:
        if product.brand and fold(product.brand) == wish.brand:
            return PERFECT
        return KIN if wish.brand in [fold(each) for each in product.fits] else 0.0

    def _grade_title(self, wish: Wish, product: Product) -> float | None:
        if product.id == wish.seed:
            return PERFECT
        have = bag(product.title) | bag(product.names)
        # Exact sums: those of a set would depend on its order.
        total = math.fsum(self._weight(word) for word in wish.words)
        told = math.fsum(self._weight(word) for word in wish.words & have)
        share = told / total if total else 0.0
        kind = judge_type(wish.types, product, wish.said) if wish.types else 1.0
        if wish.brand is not None and fold(product.brand or "") != wish.brand:
            share *= 0.3
        if kind is None:
            return None if share > 0 else 0.0
        grade = PERFECT * share * kind
        if share < 1.0:
            grade *= 0.5
        return grade if grade > GROUND else (GROUND if kind == 1.0 and wish.types else 0.0)

    def _grade_quote(self, wish: Wish, product: Product) -> float | None:
        if product.id == wish.seed:
            return PERFECT
        seed = self._by_id[wish.seed or ""]
        if seed.family is not None and product.family == seed.family:
            return PERFECT
        if bag(wish.text) <= bag(product.text):
            return GOOD
        kind = judge_type(wish.types, product)
        return None if kind is None else MISSED * kind

    def _weight(self, word: str) -> float:
        n = len(self.shelf.products)
        return math.log(1 + n / (1 + self.shelf.holding[word]))

    @property
    def _by_id(self) -> Mapping[str, Product]:
        found = self.__dict__.get("_ids")
        if found is None:
            found = {product.id: product for product in self.shelf.products}
            self.__dict__["_ids"] = found
        return found


def judge_type(types: frozenset[str], product: Product, said: str = "") -> float | None:
    """1 for one of the types, KIN for a type that ends in the same word, else 0; None if unsure.

    Unsure is a product whose title says all of `said`, where that is more than a word: its type may
    have been told wrongly. A single word may be a part: a notebook case is no notebook.
    """
    if product.type is not None and product.type in types:
        return 1.0 if product.certain else None
    asked = bag(said)
    if len(asked) > 1 and asked <= bag(product.title):
        return None
    if not product.certain:
        near = asked.union(*map(bag, types)) & bag(product.text)
        return None if near or product.type is None else 0.0
    assert product.type is not None, "a certain type is one"
    heads = {kind.split()[-1] for kind in types}
    return KIN if product.type.split()[-1] in heads else 0.0


def open_facets(wish: Wish, product: Product, limit: int = 4) -> frozenset[str]:
    """What the wish leaves open and this product settles: its brand, its type, some attributes."""
    facets = []
    if wish.brand is None and product.brand:
        facets.append(f"brand:{fold(product.brand)}")
    if len(wish.types) != 1 and product.type:
        facets.append(f"type:{product.type}")
    for name in sorted(product.attributes, key=lambda name: (_rank(name), name)):
        if len(facets) >= limit:
            break
        if name not in wish.attributes and len(product.attributes[name][0]) <= 30:
            facets.append(f"{name}:{product.attributes[name][0]}")
    return frozenset(facets)


def _rank(name: str) -> int:
    """Attributes that shoppers choose by come first."""
    wanted = (
        "colour",
        "color",
        "size",
        "material",
        "form",
        "type",
        "capacity",
        "length",
        "display",
    )
    return next((i for i, part in enumerate(wanted) if part in name), len(wanted))


def near_duplicates(one: Product, other: Product) -> bool:
    """Whether two products are variants of one: the same family, or nearly the same title."""
    if one.family is not None and one.family == other.family:
        return True
    a, b = bag(one.title), bag(other.title)
    return len(a & b) >= NEAR_DUPLICATE * len(a | b)
