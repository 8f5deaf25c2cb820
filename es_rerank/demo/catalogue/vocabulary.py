"""The shop's words: product types, brands, sellers, colours and review sentences, from `tables/`.

A line of text may carry a condition on the product's attributes: `waterproof=yes | Taped seams.`
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parent / "tables"
DEPARTMENTS = (
    "footwear",
    "audio",
    "computing",
    "kitchen",
    "furniture",
    "lighting",
    "garden",
    "tools",
    "toys",
    "beauty",
    "sports",
    "pets",
)
QUERY_KINDS = (
    "head",
    "natural",
    "ambiguous",
    "brand",
    "attribute",
    "misspelt",
    "tail",
    "chinese",
)
Value = str | int | float


@dataclass(frozen=True)
class Wording:
    """What is said about one product type in one language."""

    label: str
    nouns: tuple[str, ...]
    extra: tuple[str, ...]  # search words that marketplace sellers push into a title
    highlights: tuple[str, ...]  # short facts for a title
    features: tuple[str, ...]
    uses: Mapping[str, tuple[str, ...]]
    praise: tuple[str, ...]  # "aspect: sentence"
    blame: tuple[str, ...]
    values: Mapping[str, str]  # the English value -> the value in this language


@dataclass(frozen=True)
class ProductType:
    """One product type: the facts a product of it may have, and how to speak of them."""

    key: str
    department: str
    icon: str
    price: tuple[float, float]  # EUR, from budget to premium
    colours: tuple[str, ...]
    sizes: tuple[str, ...]
    attributes: Mapping[str, Any]
    gives: Mapping[str, Mapping[str, Value]]  # use -> attributes that make it true
    shares: Mapping[str, float]  # use -> share of the families that serve it
    aspects: tuple[str, ...]
    related: tuple[str, ...]  # product types a shopper may take instead
    confusable: tuple[str, ...]  # product types that share the words but not the need
    fits: str | None  # the product type that this accessory belongs to
    weight: float
    bulk: bool
    consumable: bool  # used up or worn on the skin: nobody sells it second-hand
    en: Wording
    zh: Wording | None

    def wording(self, language: str) -> Wording:
        return self.zh if language == "zh" and self.zh is not None else self.en


@dataclass(frozen=True)
class Brand:
    name: str
    departments: tuple[str, ...]
    tier: int  # 0 budget, 1 middle, 2 premium
    language: str
    line: str  # one sentence the brand likes to say about itself


@dataclass(frozen=True)
class Seller:
    name: str
    trust: float
    location: str
    language: str
    kind: str  # official, shop, marketplace, wholesale, second-hand


@dataclass(frozen=True)
class Vocabulary:
    types: Mapping[str, ProductType]
    brands: tuple[Brand, ...]
    sellers: tuple[Seller, ...]
    words: Mapping[str, Any]  # colours, units, labels, models, closings
    reviews: Mapping[str, Any]
    queries: tuple[Mapping[str, Any], ...]


def read_vocabulary() -> Vocabulary:
    """All tables, checked for references that lead nowhere (`ValueError`)."""
    types: dict[str, ProductType] = {}
    for department in DEPARTMENTS:
        chinese = _read(f"zh/{department}")
        for key, row in _read(department).items():
            types[key] = _product_type(key, department, row, chinese.pop(key, None))
        if chinese:
            raise ValueError(f"zh/{department}.toml has unknown product types: {sorted(chinese)}")
    for kind in types.values():
        for other in (*kind.related, *kind.confusable, *([kind.fits] if kind.fits else [])):
            if other not in types:
                raise ValueError(f"{kind.key} refers to the unknown product type {other}")
    brands = tuple(
        Brand(row[0], tuple(row[1].split()), row[2], language, row[3])
        for language, rows in _read("brands").items()
        for row in rows
    )
    sellers = tuple(
        Seller(row[0], row[1], row[2], language, row[3])
        for language, rows in _read("sellers").items()
        for row in rows
    )
    return Vocabulary(
        types,
        brands,
        sellers,
        _read("words"),
        _read("reviews"),
        tuple(row for kind in QUERY_KINDS for row in _read(f"queries/{kind}")["query"]),
    )


def applicable(lines: Sequence[str], attributes: Mapping[str, Value]) -> list[str]:
    """The lines whose condition holds and whose placeholders can be filled, without conditions."""
    kept = []
    for line in lines:
        condition, bar, text = line.rpartition(" | ")
        if bar and not _holds(condition, attributes):
            continue
        kept.append(text)
    return kept


def fill(text: str, values: Mapping[str, Any]) -> str:
    """Put the values into the text's placeholders; whole floats lose their `.0`."""
    return text.format_map({k: f"{v:g}" if isinstance(v, float) else v for k, v in values.items()})


def _holds(condition: str, attributes: Mapping[str, Value]) -> bool:
    name, _, wanted = condition.partition("=")
    return str(attributes.get(name.strip())) in wanted.strip().split("/")


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((TABLES / f"{name}.toml").read_text("utf-8"))


def _product_type(
    key: str, department: str, row: dict[str, Any], chinese: dict[str, Any] | None
) -> ProductType:
    uses = row.get("uses", {})
    english = {**row, "uses": {use: spec["says"] for use, spec in uses.items()}}
    return ProductType(
        key=key,
        department=department,
        icon=row["icon"],
        price=(float(row["price"][0]), float(row["price"][1])),
        colours=tuple(row.get("colours", ())),
        sizes=tuple(row.get("sizes", ())),
        attributes=row.get("attributes", {}),
        gives={use: spec.get("gives", {}) for use, spec in uses.items()},
        shares={use: spec.get("share", 0.35) for use, spec in uses.items()},
        aspects=tuple(row.get("aspects", ())),
        related=tuple(row.get("related", ())),
        confusable=tuple(row.get("confusable", ())),
        fits=row.get("fits"),
        weight=row.get("weight", 1.0),
        bulk=row.get("bulk", False),
        consumable=row.get("consumable", False),
        en=_wording(english),
        zh=_wording(chinese) if chinese else None,
    )


def _wording(row: Mapping[str, Any]) -> Wording:
    return Wording(
        label=row["label"],
        nouns=tuple(row["nouns"]),
        extra=tuple(row["extra"]),
        highlights=tuple(row["highlights"]),
        features=tuple(row["features"]),
        uses={use: tuple(lines) for use, lines in row.get("uses", {}).items()},
        praise=tuple(row["praise"]),
        blame=tuple(row["blame"]),
        values=row.get("values", {}),
    )
