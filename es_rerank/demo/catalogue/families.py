"""Families: the items a factory makes, before sellers list them as products."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from es_rerank.demo.catalogue.descriptions import STYLES, state_facts, write_description
from es_rerank.demo.catalogue.vocabulary import (
    Brand,
    ProductType,
    Value,
    Vocabulary,
    applicable,
    fill,
)

SINGULAR = re.compile(r"\b1 (drawer|chamber|port|mode|person|hour)s\b", re.IGNORECASE)
Decks = dict[str, list[Value]]  # attribute -> values not dealt yet
LOWER = ("and", "for", "mm", "with", "inch", "mah", "the", "per")
COMMON_ASPECTS = ("quality", "price", "delivery")
TIER_RANGES = ((0.0, 0.35), (0.25, 0.7), (0.6, 1.0))


@dataclass(frozen=True)
class Family:
    """One item with all its colours, sizes, sellers and copies; the ground truth of judgments."""

    id: str
    kind: ProductType
    language: str
    brand: Brand
    model: str
    noun: str
    attributes: Mapping[str, Value]  # in English, whatever the language
    shown: Mapping[str, Value]  # as the document says them
    uses: tuple[str, ...]
    price: float
    highlights: tuple[str, ...]
    extra: tuple[str, ...]
    description: str
    released: str
    good: Mapping[str, float] = field(default_factory=dict)  # aspect -> share of happy buyers


def make_family(
    number: int,
    turn: int,
    kind: ProductType,
    language: str,
    brands: Sequence[Brand],
    taken: set[tuple[str, str]],
    decks: Decks,
    vocabulary: Vocabulary,
    rng: random.Random,
) -> Family:
    """A family of the type, with a brand and model name that nothing else carries."""
    wording = kind.wording(language)
    brand, model = _name(kind, language, brands, taken, vocabulary, rng)
    uses = _choose_uses(kind, turn, rng)
    low, high = TIER_RANGES[brand.tier]
    position = rng.uniform(low, high)
    attributes = {
        name: _deal(name, spec, decks, rng)
        if isinstance(spec, list)
        else _draw(spec, min(1.0, max(0.0, rng.gauss(position, 0.2))), rng)
        for name, spec in kind.attributes.items()
    }
    for use in uses:
        attributes.update(kind.gives[use])
    shown = {name: _translate(v, kind, language, vocabulary) for name, v in attributes.items()}
    values = {**shown, "brand": brand.name, "model": model, "label": wording.label}
    price = kind.price[0] + (kind.price[1] - kind.price[0]) * position**1.3
    said = [rng.choice(wording.uses[use]) for use in uses]
    good = {a: _share(brand, rng) for a in (*COMMON_ASPECTS, *kind.aspects)}
    return Family(
        id=f"f{number:04d}",
        kind=kind,
        language=language,
        brand=brand,
        model=model,
        noun=_noun(applicable(wording.nouns, attributes), rng),
        attributes=attributes,
        shown=shown,
        uses=uses,
        price=price,
        highlights=tuple(
            _headline(fill(h, values), language)
            for h in _shuffled(applicable(wording.highlights, attributes), rng)
        ),
        extra=tuple(_shuffled(wording.extra, rng)),
        description=write_description(
            rng.choice(STYLES),
            rng,
            language=language,
            names=values,
            features=[_sentence(fill(f, values)) for f in applicable(wording.features, attributes)],
            uses=[_sentence(fill(s, values)) for s in said],
            facts=state_facts(shown, language, vocabulary.words),
            line=brand.line,
        ),
        released=f"{rng.choice((2019, 2021, 2022, 2023, 2024, 2025, 2025, 2026))}"
        f"-{rng.randint(1, 6):02d}-{rng.randint(1, 28):02d}",
        good=good,
    )


def _name(
    kind: ProductType,
    language: str,
    brands: Sequence[Brand],
    taken: set[tuple[str, str]],
    vocabulary: Vocabulary,
    rng: random.Random,
) -> tuple[Brand, str]:
    models = vocabulary.words["models_zh" if language == "zh" else "models"]
    for _ in range(200):
        brand = rng.choice(brands)
        model = rng.choice(models[kind.department]) + rng.choice(models["suffixes"])
        if (brand.name, model) not in taken:
            taken.add((brand.name, model))
            return brand, model
    raise ValueError(f"no free model name left for {kind.key}")


def _choose_uses(kind: ProductType, turn: int, rng: random.Random) -> tuple[str, ...]:
    """Every use in turn, so that each has its families; a fifth of the families has none."""
    if not kind.gives or turn % 5 == 4:
        return ()
    own = list(kind.gives)
    first = own[turn % len(own)]
    others = [use for use in own if use != first and rng.random() < 0.45 * kind.shares[use]]
    return _compatible((first, *others), kind)


def _compatible(uses: tuple[str, ...], kind: ProductType) -> tuple[str, ...]:
    """Drop a use whose attributes contradict those of an earlier one."""
    settled: dict[str, Value] = {}
    kept = []
    for use in uses:
        gives = kind.gives[use]
        if all(settled.get(name, value) == value for name, value in gives.items()):
            settled.update(gives)
            kept.append(use)
    return tuple(kept)


def _deal(name: str, choices: list[Value], decks: Decks, rng: random.Random) -> Value:
    """One of the choices, dealt like cards, so that every value has its share of the families."""
    deck = decks.setdefault(name, [])
    if not deck:
        deck.extend(rng.sample(choices, len(choices)))
    return deck.pop()


def _draw(spec: Value, position: float, rng: random.Random) -> Value:
    """`"8..60/2"` grows with the price, `"~8..60/2"` does not; anything else is constant."""
    if not isinstance(spec, str) or ".." not in spec:
        return spec
    if spec.startswith("~"):
        position = rng.random()
    low, _, rest = spec.lstrip("~").partition("..")
    high, _, step = rest.partition("/")
    steps = round((float(high) - float(low)) / float(step))
    value = round(float(low) + round(position * steps) * float(step), 3)
    return int(value) if value == int(value) else value


def _translate(value: Value, kind: ProductType, language: str, vocabulary: Vocabulary) -> Value:
    if language == "en" or not isinstance(value, str):
        return value
    wording = kind.wording(language)
    known = wording.values.get(value) or vocabulary.words["values_zh"].get(value)
    if known is None:
        if value.isascii() and value == value.upper():
            return value  # a code such as IPX7, the same in every language
        raise ValueError(f"zh/{kind.department}.toml, {kind.key}.values, lacks {value!r}")
    return str(known)


def _share(brand: Brand, rng: random.Random) -> float:
    """Most items please on most counts; one in six has a flaw that many reviews name."""
    if rng.random() < 0.17:
        return round(rng.uniform(0.12, 0.45), 2)
    return round(min(0.96, rng.gauss((0.75, 0.82, 0.88)[brand.tier], 0.1)), 2)


def _noun(nouns: Sequence[str], rng: random.Random) -> str:
    """What the item calls itself; most shops use one of the first two names."""
    return rng.choice(nouns[:2] if rng.random() < 0.65 else nouns)


def _sentence(text: str) -> str:
    """A capital at the beginning, and `an 8 mm drop`."""
    text = re.sub(r"\b([Aa]) (?=8|11\b|18\b)", r"\1n ", text)
    text = SINGULAR.sub(r"1 \1", text)
    return text[:1].upper() + text[1:]


def _headline(text: str, language: str) -> str:
    """Words of an English title start with a capital; units and codes stay as they are."""
    if language == "zh":
        return text
    text = SINGULAR.sub(r"1 \1", text)
    return re.sub(r"\b[a-z]{3,}", lambda m: m[0] if m[0] in LOWER else m[0].capitalize(), text)


def _shuffled(lines: Sequence[str], rng: random.Random) -> list[str]:
    return rng.sample(list(lines), len(lines))
