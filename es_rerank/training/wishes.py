"""Weak queries from a bare catalogue, each with what it demands of a product.

A wish is a query text and the conditions behind it, so that any product can be judged for it.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from es_rerank.training.catalogue import Product, fold
from es_rerank.training.words import Words, bag, load_words, misspell, plain, pluralise

SHARES: Mapping[str, float] = {
    "type": 0.2,
    "wide": 0.05,
    "brand type": 0.2,
    "brand": 0.04,
    "attribute": 0.18,
    "title": 0.12,
    "fits": 0.06,
    "need": 0.06,
    "sentence": 0.06,
    "praise": 0.03,
}
"""How often each kind is drawn; a kind that the catalogue cannot give is left out."""
MISSPELT = 0.07
FILLERS = ("best {}", "cheap {}", "new {}", "good {}", "buy {}", "{} for home", "{} for office")
MIN_OF_A_TYPE = 3
SHORT_VALUE = 24
DULL = frozenset({"original", "compatible", "1", "unisex", "universal", "colour", "plug and play"})


@dataclass(frozen=True)
class Wish:
    """A query, and what it demands; None demands nothing.

    types: any of them; said: the word that the query has for them. attributes: name -> value.
    words: of the title. fits: what it must be made for. seed: the product that the words come
    from. topic: what must not be in both parts of a split (a type, a brand, a product's name).
    """

    text: str
    kind: str
    topic: str
    types: frozenset[str] = frozenset()
    said: str = ""
    brand: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    words: frozenset[str] = frozenset()
    fits: str | None = None
    seed: str | None = None


@dataclass(frozen=True)
class Shelf:
    """A catalogue, by what wishes ask for."""

    products: Sequence[Product]
    words: Words = field(default_factory=load_words)

    @cached_property
    def by_type(self) -> dict[str, list[int]]:
        """Positions of the products whose type is certain, for types of some size."""
        found: dict[str, list[int]] = defaultdict(list)
        for i, product in enumerate(self.products):
            if product.type and product.certain:
                found[product.type].append(i)
        return {name: rows for name, rows in found.items() if len(rows) >= MIN_OF_A_TYPE}

    @cached_property
    def by_brand(self) -> dict[str, list[int]]:
        """Positions by folded brand."""
        found: dict[str, list[int]] = defaultdict(list)
        for i, product in enumerate(self.products):
            if product.brand:
                found[fold(product.brand)].append(i)
        return {name: rows for name, rows in found.items() if len(rows) >= MIN_OF_A_TYPE}

    @cached_property
    def values(self) -> dict[str, list[tuple[str, str]]]:
        """By type, the attribute values that two products at least share and not nearly all."""
        found = {}
        for kind, rows in self.by_type.items():
            counts = Counter(
                (name, value)
                for i in rows
                for name, values in self.products[i].attributes.items()
                for value in values
                if len(value) <= SHORT_VALUE and value not in DULL
            )
            kept = [pair for pair, n in counts.items() if 2 <= n <= 0.8 * len(rows)]
            if kept:
                found[kind] = kept
        return found

    @cached_property
    def holding(self) -> Counter[str]:
        """How many products hold each word in their title."""
        return Counter(word for product in self.products for word in bag(product.title))

    @cached_property
    def fitting(self) -> list[int]:
        """Products that say what they are made for."""
        return [
            i
            for i, product in enumerate(self.products)
            if product.fits and product.certain and product.type in self.by_type
        ]

    @cached_property
    def quotes(self) -> dict[str, list[tuple[int, str]]]:
        """Sentences of descriptions (`sentence`) and of reviews (`praise`), with whose they are.

        Only those that are said of one type: what is said of everything tells nothing.
        """
        kinds: dict[str, set[str | None]] = defaultdict(set)
        for product in self.products:
            for sentence in (*product.sentences, *product.praise):
                kinds[fold(sentence)].add(product.type)
        found: dict[str, list[tuple[int, str]]] = {"sentence": [], "praise": []}
        for i, product in enumerate(self.products):
            told = {"sentence": product.sentences, "praise": product.praise}
            for kind, sentences in told.items() if product.certain else ():
                own = dict.fromkeys(s for s in sentences if len(kinds[fold(s)]) == 1)
                found[kind] += [(i, sentence) for sentence in own]
        return found


def make_wishes(shelf: Shelf, count: int, seed: int) -> list[Wish]:
    """Draw wishes of all kinds. No text twice; fewer than `count` where the catalogue is small."""
    chance = random.Random(seed)
    made: dict[str, Wish] = {}
    kinds = list(SHARES)
    for _ in range(count * 6):
        if len(made) >= count:
            break
        (kind,) = chance.choices(kinds, [SHARES[k] for k in kinds])
        wish = MAKERS[kind](shelf, chance)
        if wish is None or not wish.text:
            continue
        text = plain(wish.text)
        if chance.random() < 0.6:
            text = text.casefold()
        if chance.random() < MISSPELT:
            text = misspell(text, chance)
        made.setdefault(text.casefold(), replace(wish, text=text))
    return list(made.values())


def name_type(shelf: Shelf, kind: str, chance: random.Random) -> str:
    """A type in one of its words."""
    same = shelf.words.same.get(kind, ())
    text = chance.choice(same) if same and chance.random() < 0.6 else kind.replace("/", " ")
    return pluralise(text) if chance.random() < 0.25 else text


def draw_type(shelf: Shelf, chance: random.Random) -> str | None:
    """A type, large ones a little more often."""
    kinds = list(shelf.by_type)
    if not kinds:
        return None
    return chance.choices(kinds, [len(shelf.by_type[kind]) ** 0.4 for kind in kinds])[0]


def meant_by(shelf: Shelf, text: str, kind: str) -> frozenset[str]:
    """The types that a type's word may mean: `router` names two."""
    singular = bag(text)
    also = {
        name
        for name, same in shelf.words.same.items()
        if any(bag(word) == singular for word in (name, *same))
    }
    for wide, names in shelf.words.wide.items():
        if bag(wide) == singular:
            also.update(names)
    # `cable` means every type that ends in it.
    also.update(
        name for name in shelf.by_type if name.split()[-len(text.split()) :] == text.split()
    )
    return frozenset(also | {kind})


def wish_type(shelf: Shelf, chance: random.Random) -> Wish | None:
    kind = draw_type(shelf, chance)
    if kind is None:
        return None
    text = name_type(shelf, kind, chance)
    types = meant_by(shelf, text, kind)
    query = chance.choice(FILLERS).format(text) if chance.random() < 0.12 else text
    return Wish(query, "type", kind, types, text)


def wish_wide(shelf: Shelf, chance: random.Random) -> Wish | None:
    known = {
        word: frozenset(names) & shelf.by_type.keys() for word, names in shelf.words.wide.items()
    }
    usable = [word for word, names in known.items() if len(names) > 1]
    if not usable:
        return None
    word = chance.choice(usable)
    if chance.random() < 0.5 and shelf.by_brand:
        rows = [i for name in sorted(known[word]) for i in shelf.by_type[name]]
        brand = shelf.products[chance.choice(rows)].brand
        if brand:
            return Wish(f"{brand} {word}", "wide", word, known[word], word, fold(brand))
    return Wish(word, "wide", word, known[word], word)


def wish_brand_type(shelf: Shelf, chance: random.Random) -> Wish | None:
    kind = draw_type(shelf, chance)
    if kind is None:
        return None
    brand = shelf.products[chance.choice(shelf.by_type[kind])].brand
    if not brand:
        return None
    text = name_type(shelf, kind, chance)
    query = f"{text} {brand}" if chance.random() < 0.2 else f"{brand} {text}"
    return Wish(query, "brand type", kind, meant_by(shelf, text, kind), text, fold(brand))


def wish_brand(shelf: Shelf, chance: random.Random) -> Wish | None:
    if not shelf.by_brand:
        return None
    brand = chance.choice(list(shelf.by_brand))
    return Wish(brand, "brand", brand, brand=brand)


def wish_attribute(shelf: Shelf, chance: random.Random) -> Wish | None:
    kind = draw_type(shelf, chance)
    if kind is None or kind not in shelf.values:
        return None
    name, value = chance.choice(shelf.values[kind])
    text = name_type(shelf, kind, chance)
    query = f"{value} {text}" if chance.random() < 0.75 else f"{text} {value}"
    wanted = {name: value}
    types = meant_by(shelf, text, kind)
    if chance.random() < 0.25:
        rows = [
            i for i in shelf.by_type[kind] if value in shelf.products[i].attributes.get(name, ())
        ]
        brand = shelf.products[chance.choice(rows)].brand
        if brand:
            return Wish(f"{brand} {query}", "attribute", kind, types, text, fold(brand), wanted)
    return Wish(query, "attribute", kind, types, text, attributes=wanted)


def wish_title(shelf: Shelf, chance: random.Random) -> Wish | None:
    product = chance.choice(shelf.products)
    words = [word for word in plain(product.names).split() if len(word) > 1]
    rare = [word for word in words if all(shelf.holding[w] < 200 for w in bag(word)) and bag(word)]
    if not rare:
        return None
    start = chance.randrange(len(rare))
    chosen = rare[start : start + chance.choice((1, 1, 2, 2, 3))]
    text = " ".join(chosen)
    types: frozenset[str] = frozenset()
    said: str = ""
    brand = None
    if product.brand and chance.random() < 0.4:
        brand, text = fold(product.brand), f"{product.brand} {text}"
    if product.type and product.certain and chance.random() < 0.3:
        types, text = frozenset({product.type}), f"{text} {product.type}"
    topic = " ".join(chosen).casefold()
    said = product.type if types and product.type else ""
    words_asked = bag(" ".join(chosen))
    return Wish(text, "title", topic, types, said, brand, words=words_asked, seed=product.id)


def wish_fits(shelf: Shelf, chance: random.Random) -> Wish | None:
    if not shelf.fitting:
        return None
    product = shelf.products[chance.choice(shelf.fitting)]
    model = chance.choice(product.fits)
    if product.type is None:
        return None
    text = name_type(shelf, product.type, chance)
    query = f"{text} for {model}" if chance.random() < 0.7 else f"{model} {text}"
    types = meant_by(shelf, text, product.type)
    return Wish(query, "fits", product.type, types, text, fits=fold(model))


def wish_need(shelf: Shelf, chance: random.Random) -> Wish | None:
    known = [kind for kind in shelf.words.need if kind in shelf.by_type]
    if not known:
        return None
    kind = chance.choice(known)
    return Wish(chance.choice(shelf.words.need[kind]), "need", kind, meant_by(shelf, kind, kind))


def wish_sentence(shelf: Shelf, chance: random.Random) -> Wish | None:
    return _draw_quote(shelf, "sentence", chance)


def wish_praise(shelf: Shelf, chance: random.Random) -> Wish | None:
    return _draw_quote(shelf, "praise", chance)


def _draw_quote(shelf: Shelf, kind: str, chance: random.Random) -> Wish | None:
    if not shelf.quotes[kind]:
        return None
    i, sentence = chance.choice(shelf.quotes[kind])
    return _quote(shelf.products[i], sentence, kind, chance)


def _quote(product: Product, sentence: str, kind: str, chance: random.Random) -> Wish | None:
    """A few words on end of a sentence, without the product's own name."""
    own = bag(product.brand or "")
    words = [word for word in plain(sentence).split() if not bag(word) & own]
    length = chance.randrange(4, 9)
    start = chance.randrange(max(len(words) - length, 0) + 1)
    text = " ".join(words[start : start + length])
    if len(text.split()) < 3 or product.type is None:
        return None
    return Wish(text, kind, product.type, frozenset({product.type}), seed=product.id)


MAKERS: Mapping[str, Callable[[Shelf, random.Random], Wish | None]] = {
    "type": wish_type,
    "wide": wish_wide,
    "brand type": wish_brand_type,
    "brand": wish_brand,
    "attribute": wish_attribute,
    "title": wish_title,
    "fits": wish_fits,
    "need": wish_need,
    "sentence": wish_sentence,
    "praise": wish_praise,
}


def split_wishes(wishes: Sequence[Wish], share: float, seed: int) -> tuple[list[Wish], list[Wish]]:
    """Part by topic, so that no type, brand or name that is tested was trained on.

    A held-out type takes with it every wish that accepts it. A topic's side depends on its own name
    and the seed alone: in every catalogue and in every run it is the same.
    """
    drawn = {wish.topic: draw_topic(wish.topic, seed) for wish in wishes}
    least = min(drawn.values(), default=0.0)  # one topic at least
    held = {topic for topic, number in drawn.items() if number < share or number == least}
    inside = [w for w in wishes if w.topic in held]
    outside = [w for w in wishes if w.topic not in held and not (w.types & held)]
    return outside, inside


def draw_topic(topic: str, seed: int) -> float:
    """A topic's number, 0 to 1, evenly spread."""
    drawn = hashlib.blake2b(f"{seed} {topic.casefold()}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn) / 2**64


def iterate(wishes: Sequence[Wish], seed: int) -> Iterator[Wish]:
    """The wishes over and over, shuffled anew each time."""
    epoch = 0
    while True:
        order = list(wishes)
        random.Random(seed * 1000 + epoch).shuffle(order)
        yield from order
        epoch += 1
