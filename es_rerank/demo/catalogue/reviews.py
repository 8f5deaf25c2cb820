"""Reviews: sentences per aspect, rated by what they say, so that stars and words agree."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from es_rerank.demo.catalogue.families import COMMON_ASPECTS, Family
from es_rerank.demo.catalogue.products import Product
from es_rerank.demo.catalogue.vocabulary import Vocabulary

MEAN_REVIEWS = 8.0
LAST_DAY = date(2026, 8, 31)
OWN_SENTENCE = 0.62  # share of aspect sentences written for the product type, where there is one


def make_reviews(
    products: Sequence[Product], vocabulary: Vocabulary, seed: int
) -> list[dict[str, Any]]:
    """All reviews; adds `rating` (mean, one decimal) and `review_count` to the documents."""
    counts = _counts(len(products), random.Random(f"{seed}/reviews"))
    reviews: list[dict[str, Any]] = []
    for product, count in zip(products, counts, strict=True):
        rng = random.Random(f"{seed}/reviews/{product.id}")
        banks = _banks(product.family, vocabulary.reviews)
        seen: set[str] = set()
        ratings: list[int] = []
        while len(ratings) < count:
            review = _write(product, banks, vocabulary.reviews, rng)
            if review["text"] in seen and rng.random() < 0.95:
                continue
            seen.add(review["text"])
            ratings.append(review["rating"])
            reviews.append({**review, "review_id": f"r{len(reviews) + 1:06d}"})
        product.document["rating"] = round(sum(ratings) / count, 1)
        product.document["review_count"] = count
    return reviews


def rate(aspects: Mapping[str, int], rng: random.Random) -> int:
    """Stars for what was said: quality counts twice, praise alone is never below four."""
    total = sum(sign * (2 if name == "quality" else 1) for name, sign in aspects.items())
    weight = sum(2 if name == "quality" else 1 for name in aspects)
    mean = total / weight
    if mean >= 1:
        return 5 if rng.random() < 0.78 else 4
    if mean > 0.4 or (len(aspects) > 2 and mean > 0.3):
        return 4
    if mean >= -0.4:
        return 3
    if mean > -1:
        return 2
    return 1 if rng.random() < 0.6 else 2


def _counts(products: int, rng: random.Random) -> list[int]:
    """At least one each, geometric beyond, summing to MEAN_REVIEWS per product."""
    total = round(products * MEAN_REVIEWS)
    weights = [rng.expovariate(1.0) ** 1.35 for _ in range(products)]
    scale = (total - products) / sum(weights)
    counts = [1 + int(w * scale) for w in weights]
    for index in rng.sample(range(products), total - sum(counts)):
        counts[index] += 1
    return counts


def _banks(family: Family, reviews: Mapping[str, Any]) -> dict[tuple[str, int, bool], list[Any]]:
    """(aspect, sign, written for the type) -> [(template id, sentence)]."""
    language = family.language
    banks: dict[tuple[str, int, bool], list[Any]] = {}
    for aspect in (*COMMON_ASPECTS, *family.kind.aspects):
        for sign, side in ((1, "good"), (-1, "bad")):
            name = (
                "quality_consumable" if aspect == "quality" and family.kind.consumable else aspect
            )
            lines = reviews["aspects"][name][f"{side}_{language}"]
            banks[aspect, sign, False] = [
                (f"{name}.{language}.{side}.{i}", line) for i, line in enumerate(lines)
            ]
    wording = family.kind.wording(language)
    for sign, side, own in ((1, "good", wording.praise), (-1, "bad", wording.blame)):
        for i, text in enumerate(own):
            aspect, _, line = text.partition(": ")
            if aspect not in (*COMMON_ASPECTS, *family.kind.aspects):
                raise ValueError(f"{family.kind.key} reviews {aspect}, which it does not list")
            template = f"{family.kind.key}.{language}.{side}.{i}"
            banks.setdefault((aspect, sign, True), []).append((template, line))
    return banks


def _write(
    product: Product,
    banks: Mapping[tuple[str, int, bool], list[Any]],
    words: Mapping[str, Any],
    rng: random.Random,
) -> dict[str, Any]:
    family, document = product.family, product.document
    language = family.language
    mood = rng.gauss(0.03, 0.34)  # some people like everything
    aspects: dict[str, int] = {}
    pool = ["quality", *family.kind.aspects, *family.kind.aspects, "price", "delivery", "quality"]
    for aspect in rng.sample(pool, min(len(pool), rng.choice((1, 2, 2, 3, 3)))):
        happy = family.good[aspect]
        if aspect == "delivery":
            happy = 0.35 + 0.6 * document["seller_trust"]
        if aspect == "quality" and document["condition"] == "used":
            happy -= 0.1
        aspects[aspect] = 1 if rng.random() < happy + mood else -1
    rating = rate(aspects, rng)
    templates: list[str] = []
    sentences: list[str] = []
    first = 1 if sum(aspects.values()) >= 0 else -1
    for turn, sign in enumerate((first, -first)):
        said = [a for a, s in aspects.items() if s == sign]
        for index, aspect in enumerate(said):
            own = banks.get((aspect, sign, True))
            bank = own if own and rng.random() < OWN_SENTENCE else banks[aspect, sign, False]
            template, line = rng.choice(bank)
            templates.append(template)
            if turn and not index and sentences:
                line = _turn(language, sign, line, words, rng)
            sentences.append(line)
    opening = rng.choice(words[f"openings_{language}"][str(rating)])
    closing = rng.choice(words[f"closings_{language}"][str(rating)])
    names = {
        "label": family.kind.wording(language).label,
        "brand": document["brand"],
        "model": family.model,
    }
    gap = "" if language == "zh" else " "
    text = gap.join(s for s in (opening, *sentences, closing) if s).format(**names)
    return {
        "product_id": product.id,
        "review_id": "",
        "user": _person(language, words, rng),
        "rating": rating,
        "date": _day(family.released, rng),
        "language": language,
        "text": _handwriting(text, language, rating, rng),
        "template": templates,
        "aspects": aspects,
    }


def _turn(language: str, sign: int, line: str, words: Mapping[str, Any], rng: random.Random) -> str:
    link = rng.choice(words[f"turns_{language}"]["good" if sign > 0 else "bad"])
    if language == "zh":
        return f"{link}{line}"
    keep = line.startswith(("I ", "I'", "{", "Zero"))
    return f"{link} {line if keep else line[0].lower() + line[1:]}"


def _handwriting(text: str, language: str, rating: int, rng: random.Random) -> str:
    """Some people do not use capitals, some shout."""
    chance = rng.random()
    if language == "en" and chance < 0.07:
        return text.lower().rstrip(".")
    if rating in (1, 5) and chance > 0.94:
        mark = "！" if language == "zh" else "!!"
        return text.rstrip(".。!！") + mark
    return text


def _person(language: str, words: Mapping[str, Any], rng: random.Random) -> str:
    name = rng.choice(words["people"][language])
    if language == "zh":
        return f"{name}{rng.choice(('', '', rng.randint(1, 99)))}"
    return f"{name} {rng.choice('ABCDEFGHJKLMNPRSTW')}."


def _day(released: str, rng: random.Random) -> str:
    start = date.fromisoformat(released)
    return (start + timedelta(days=rng.randint(4, max(5, (LAST_DAY - start).days)))).isoformat()
