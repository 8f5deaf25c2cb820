"""Products: what sellers list of each family, with the crowding that real shops have.

A family is listed in one of five shapes: `flood` (one seller, every colour and size), `resold`
(the same item from several sellers), `copied` (one item under several brands, with the same
text), `colours` and `single`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from es_rerank.demo.catalogue.families import Decks, Family, make_family
from es_rerank.demo.catalogue.pictures import draw_picture
from es_rerank.demo.catalogue.titles import choose_style, write_title
from es_rerank.demo.catalogue.vocabulary import Brand, ProductType, Seller, Vocabulary

ENGLISH, CHINESE = 2720, 480
SHAPES = (
    ("flood", 7, 9),
    ("resold", 4, 6),
    ("colours", 2, 4),
    ("copied", 3, 4),
    ("single", 1, 1),
    ("single", 1, 1),
    ("resold", 2, 3),
    ("colours", 2, 3),
    ("single", 1, 1),
)
PACKS = {"en": ("1 pack", "2 pack", "3 pack", "5 pack"), "zh": ("单件装", "两件装", "三件装")}
FREE_SIZES = {
    "S": "小号", "M": "中号", "L": "大号", "XL": "加大号", "EU ": "", "one size": "均码",
}  # fmt: skip


@dataclass(frozen=True)
class Product:
    """A document, and the ground truth behind it."""

    document: dict[str, Any]
    family: Family
    colour: str | None  # in English

    @property
    def id(self) -> str:
        return str(self.document["id"])


def make_products(vocabulary: Vocabulary, seed: int) -> list[Product]:
    """All products, without ratings, which the reviews decide."""
    taken: set[tuple[str, str]] = set()
    products: list[Product] = []
    number = 0
    for language, total in (("en", ENGLISH), ("zh", CHINESE)):
        kinds = [k for k in vocabulary.types.values() if language == "en" or k.zh]
        for kind, quota in zip(kinds, _quotas(kinds, total), strict=True):
            rng = random.Random(f"{seed}/{language}/{kind.key}")
            brands = _brands(vocabulary, kind, language, rng)
            made = 0
            shapes = _shapes(rng)
            turn = rng.randrange(60)
            decks: Decks = {}
            while made < quota:
                number += 1
                turn += 1
                family = make_family(
                    number, turn, kind, language, brands, taken, decks, vocabulary, rng
                )
                shape, low, high = next(shapes)
                count = min(rng.randint(low, high), quota - made)
                listed = _list_family(family, shape, count, brands, vocabulary, rng)
                for document, owner, colour in listed:
                    document["id"] = f"p{len(products) + 1:05d}"
                    products.append(Product(document, owner, colour))
                made += len(listed)
    _add_compatibility(products, seed)
    return products


def _quotas(kinds: Sequence[ProductType], total: int) -> list[int]:
    """Shares of the total by weight; they sum to it exactly."""
    weight = sum(k.weight for k in kinds)
    ends = [0]
    running = 0.0
    for kind in kinds:
        running += kind.weight
        ends.append(round(total * running / weight))
    return [b - a for a, b in pairwise(ends)]


def _brands(
    vocabulary: Vocabulary, kind: ProductType, language: str, rng: random.Random
) -> list[Brand]:
    """The brands that make the type: a handful of the department's, so that each has several."""
    able = [
        b for b in vocabulary.brands if b.language == language and kind.department in b.departments
    ]
    return rng.sample(able, min(len(able), 7))


def _shapes(rng: random.Random) -> Iterator[tuple[str, int, int]]:
    while True:
        yield SHAPES[0]
        yield from rng.sample(SHAPES[1:], len(SHAPES) - 1)


def _list_family(
    family: Family,
    shape: str,
    count: int,
    brands: Sequence[Brand],
    vocabulary: Vocabulary,
    rng: random.Random,
) -> list[tuple[dict[str, Any], Family, str | None]]:
    kind = family.kind
    sellers = [
        s
        for s in vocabulary.sellers
        if s.language == family.language and not (kind.consumable and s.kind == "second-hand")
    ]
    first = _choose_seller(sellers, shape, rng)
    style = rng.choice(("clean", "brand-first", "stuffed")) if shape == "flood" else None
    style = style or choose_style(rng, first)
    colours: Sequence[str | None] = rng.sample(kind.colours, len(kind.colours)) or [None]
    sizes: Sequence[str | None] = kind.sizes or [None]
    if not kind.colours and not kind.sizes:
        sizes = PACKS[family.language]
    if shape == "flood":
        ways = [(c, s) for c in colours for s in sizes]
        wide = min(len(colours), 3)
        chosen = [w for w in ways if w[0] in colours[:wide]]
        rng.shuffle(chosen)
        pairs = (chosen + [w for w in ways if w not in chosen])[:count]
    elif shape == "colours":
        size = rng.choice(sizes)
        pairs = [(c, size) for c in colours][:count]
        if len(pairs) < 2:
            pairs = [(pairs[0][0], s) for s in sizes][:count]
    else:
        pairs = [(colours[0], rng.choice(sizes))] * count
    listed = []
    others = rng.sample(brands, len(brands))
    stores = rng.sample(sellers, len(sellers))
    if shape == "resold" and count > 1 and not kind.consumable and rng.random() < 0.4:
        stores[1] = rng.choice([s for s in sellers if s.kind == "second-hand"])
    for place, (colour, size) in enumerate(pairs):
        owner, seller, used = family, first, style
        if shape == "resold" and place:
            seller = stores[place % len(stores)]
            copied = rng.random() < 0.5 and style not in ("used", "wholesale")
            used = style if copied else choose_style(rng, seller)
            if seller.kind == "second-hand":
                used = "used"
        if shape == "copied" and place:
            brand = others[place % len(others)]
            text = family.description.replace(family.brand.name, brand.name)
            owner = replace(family, brand=brand, description=text)
            seller = stores[place % len(stores)]
        document = _document(owner, seller, used, colour, size, vocabulary, rng)
        listed.append((document, owner, colour))
    return listed


def _choose_seller(sellers: Sequence[Seller], shape: str, rng: random.Random) -> Seller:
    wanted = {"flood": ("official", "marketplace"), "copied": ("marketplace",)}.get(shape)
    return rng.choice([s for s in sellers if not wanted or s.kind in wanted])


def _document(
    family: Family,
    seller: Seller,
    style: str,
    colour: str | None,
    size: str | None,
    vocabulary: Vocabulary,
    rng: random.Random,
) -> dict[str, Any]:
    language = family.language
    words = vocabulary.words
    condition = "new"
    if seller.kind == "second-hand":
        condition = rng.choice(("refurbished", "used"))
    factor = {"new": 1.0, "refurbished": 0.74, "used": 0.52}[condition] * rng.uniform(0.93, 1.08)
    if seller.kind == "wholesale":
        factor *= 0.82
    price = round_price(family.price * factor, rng)
    hex_colour, chinese = words["colours"][colour] if colour else (_paper_colour(family.kind), None)
    shown_colour = chinese if language == "zh" else colour
    shown_size = _size(size, language)
    closing = rng.choice(words["closings"][f"{seller.kind}_{language}"])
    label = family.kind.wording(language).label
    listed = "\n" in family.description
    break_ = "\n" if listed else "" if language == "zh" else " "
    document: dict[str, Any] = {
        "id": "",
        "title": write_title(
            style,
            language=language,
            brand=family.brand.name,
            model=family.model,
            noun=family.noun,
            highlights=family.highlights,
            extra=family.extra,
            colour=shown_colour,
            size=shown_size,
            condition=condition,
        ),
        "description": (family.description + break_ + closing.format(label=label)).strip(),
        "brand": family.brand.name,
        "department": family.kind.department,
        "type": family.kind.en.label,
        "language": language,
        "price": price,
        "currency": "EUR",
        "bulk_prices": [],
        "min_order": 1,
        "condition": condition,
        "released": family.released,
        "stock": rng.choice((0, 2, 5, 9, 14, 30, 60, 120, 400)) if condition == "new" else 1,
        "seller": seller.name,
        "seller_trust": seller.trust,
        "seller_location": seller.location,
        "family": family.id,
        "attributes": dict(family.shown),
        "compatibility": [],
        "image": draw_picture(family.kind.icon, hex_colour),
    }
    if shown_colour:
        document["colour"] = shown_colour
    if shown_size:
        document["size"] = shown_size
    if seller.kind == "wholesale" or (family.kind.bulk and rng.random() < 0.5):
        document["bulk_prices"] = [
            {"min_quantity": quantity, "price": round(price * share, 2)}
            for quantity, share in ((5, 0.95), (20, 0.88), (100, 0.79))
        ]
    if seller.kind == "wholesale":
        document["min_order"] = rng.choice((5, 10, 12, 20))
    return document


def round_price(price: float, rng: random.Random) -> float:
    """A price that looks like one: 18.99, 24.95, 349.00."""
    if price >= 200:
        return float(round(price / 10) * 10 - rng.choice((1, 0, 5)))
    return max(0.99, round(price) - rng.choice((0.01, 0.05, 0.01, 0.1, 0.5)))


def _paper_colour(kind: ProductType) -> str:
    """The picture's colour for what has no colour of its own: one per product type."""
    return random.Random(kind.key).choice(("#4f7cac", "#6a994e", "#c8553d", "#8a6bbd", "#c9982b"))


def _size(size: str | None, language: str) -> str | None:
    if size is None or language == "en":
        return size
    if size in FREE_SIZES:
        return FREE_SIZES[size]
    if size.startswith("EU "):
        return size.removeprefix("EU ") + "码"
    return (
        size.replace(" inch", "英寸")
        .replace(" GB", "GB")
        .replace(" pieces", "片")
        .replace(" cm", "厘米")
        .replace(" ml", "毫升")
        .replace(" kg", "公斤")
        .replace(" years", "岁")
        .replace(" l", "升")
    )


def _add_compatibility(products: Sequence[Product], seed: int) -> None:
    """Accessories name the models they fit, which are products of this catalogue."""
    models: dict[tuple[str, str], dict[str, str]] = {}
    for product in products:
        family = product.family
        key = (family.kind.key, family.language)
        separator = "" if family.language == "zh" else " "
        models.setdefault(key, {})[family.id] = f"{family.brand.name}{separator}{family.model}"
    for product in products:
        family = product.family
        if not family.kind.fits:
            continue
        known = sorted(set(models.get((family.kind.fits, family.language), {}).values()))
        rng = random.Random(f"{seed}/fits/{family.id}")
        product.document["compatibility"] = rng.sample(known, min(len(known), rng.randint(2, 4)))
