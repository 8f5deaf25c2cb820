"""Simulated users with tastes that can be looked up: brands, types, price band, colours."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from es_rerank.demo.catalogue.products import Product
from es_rerank.demo.catalogue.vocabulary import Vocabulary

USERS = 300
T = TypeVar("T")
BANDS = ("budget", "middle", "premium")


@dataclass(frozen=True)
class User:
    id: str
    language: str
    brands: dict[str, float]  # 0..1, how much the user leans to the brand
    types: dict[str, float]  # share of the user's searches
    price_band: str
    colours: dict[str, float]
    activity: float  # searches, relative to the average user

    def document(self) -> dict[str, Any]:
        tastes = {
            k: v
            for k, v in asdict(self).items()
            if k in ("brands", "types", "price_band", "colours")
        }
        return {"user_id": self.id, "language": self.language, "tastes": tastes}


def make_users(vocabulary: Vocabulary, seed: int) -> list[User]:
    return [_user(number, vocabulary, seed) for number in range(1, USERS + 1)]


def attraction(user: User, product: Product) -> float:
    """0..1: how much the product suits the user's tastes, whatever the query."""
    document, family = product.document, product.family
    brand = user.brands.get(document["brand"], 0.15)
    colour = user.colours.get(product.colour or "", 0.3)
    band = BANDS.index(user.price_band)
    low, high = family.kind.price
    position = min(2, int(3 * max(0.0, document["price"] - low) / (high - low)))
    price = (1.0, 0.5, 0.12)[abs(band - position)]
    trust = document["seller_trust"] * (document["rating"] / 5)
    return float(0.4 * brand + 0.15 * colour + 0.3 * price + 0.15 * trust)


def _user(number: int, vocabulary: Vocabulary, seed: int) -> User:
    rng = random.Random(f"{seed}/user/{number}")
    language = "zh" if number % 20 in (7, 13, 19) else "en"
    kinds = [k for k in vocabulary.types.values() if language == "en" or k.zh]
    liked = _pick(kinds, rng.randint(4, 9), rng)
    departments = {k.department for k in liked}
    brands = [
        b
        for b in vocabulary.brands
        if b.language == language and departments.intersection(b.departments)
    ]
    shares = [rng.expovariate(1.0) + 0.2 for _ in liked]
    colours = list(vocabulary.words["colours"])
    return User(
        id=f"u{number:03d}",
        language=language,
        brands={
            b.name: round(rng.uniform(0.6, 1.0), 2) for b in _pick(brands, rng.randint(2, 5), rng)
        },
        types={k.en.label: round(s / sum(shares), 3) for k, s in zip(liked, shares, strict=True)},
        price_band=rng.choice(BANDS),
        colours={c: round(rng.uniform(0.6, 1.0), 2) for c in _pick(colours, 4, rng)},
        activity=round(rng.lognormvariate(-0.15, 0.55), 3),
    )


def _pick(items: Sequence[T], count: int, rng: random.Random) -> list[T]:
    return rng.sample(items, min(count, len(items)))
