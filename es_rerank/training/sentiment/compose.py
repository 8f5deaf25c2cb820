"""Longer reviews out of short ones, so that a head learns what weighs when both are said."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from es_rerank.models.sentiment.head import BLAME, NEITHER, PRAISE
from es_rerank.models.sentiment.lexicon import Language
from es_rerank.training.sentiment.reviews import Review
from es_rerank.training.words import misspell

TURNS = {
    "en": ("But", "However,", "Still,", "That said,", "On the other hand,", "Unfortunately", ""),
    "zh": ("但是", "不过", "可是", "就是", "然而", ""),
}
ASIDES = {
    "en": (
        "I bought it for my brother.",
        "I ordered this last month.",
        "We have a small apartment.",
        "I use it in the kitchen.",
        "My old one was five years old.",
        "I read a lot of reviews before I ordered.",
        "It came on a Tuesday.",
        "I am 180 cm tall.",
        "This is my first one.",
        "I had seen it in a video.",
        "My daughter is four.",
        "It was on sale.",
        "I ordered the black one.",
        "We live in the countryside.",
        "I have two dogs and a cat.",
        "My wife picked it.",
    ),
    "zh": (
        "上周买的。",
        "给爸妈买的。",
        "买来放办公室。",
        "看了很多评价才下的单。",
        "我身高一米七。",
        "双十一买的。",
        "选的黑色。",
        "家里有两个孩子。",
        "第一次买这个。",
        "朋友介绍的。",
    ),
}
Pool = Mapping[int, Sequence[Review]]


def pool_reviews(reviews: Sequence[Review], language: Language) -> dict[int, list[Review]]:
    """The language's reviews by what they say."""
    pool: dict[int, list[Review]] = {BLAME: [], NEITHER: [], PRAISE: []}
    for review in reviews:
        if review.language == language:
            pool[review.says].append(review)
    return pool


def compose(pool: Pool, language: Language, chance: random.Random) -> Review:
    """A review of two to five parts: all of one mind, or with one part that is not, or torn.

    Where praise and blame are even the last word decides half of the time, else it is neither.
    """
    says = chance.choices((BLAME, NEITHER, PRAISE), (0.45, 0.1, 0.45))[0]
    turn = chance.choice(TURNS[language])
    if says == NEITHER:
        first, last = chance.sample((PRAISE, BLAME), 2)
        parts = [_part(pool, first, chance), _join(turn, _part(pool, last, chance))]
    else:
        other = PRAISE if says == BLAME else BLAME
        count = chance.choices((1, 2, 3, 4), (0.3, 0.35, 0.25, 0.1))[0]
        parts = [_part(pool, says, chance) for _ in range(count)]
        if chance.random() < 0.4 and count > 1:
            place = chance.choice((0, 0, 1, count))
            aside = _part(pool, other, chance)
            if place:
                parts.insert(place, _join(turn, aside))
            else:
                parts = [aside, _join(turn, parts[0]), *parts[1:]]
    if chance.random() < 0.35:
        parts.insert(chance.choice((0, len(parts))), chance.choice(ASIDES[language]))
    gap = "" if language == "zh" else " "
    return Review(gap.join(_ended(part, language) for part in parts), says, language, "written")


def blemish(review: Review, chance: random.Random) -> str:
    """The text as people type: at times misspelt, without capitals or its last stop."""
    text = review.text
    if review.language == "en" and chance.random() < 0.15:
        text = misspell(text, chance)
    if chance.random() < 0.2:
        text = text.rstrip(".。!！")
    if chance.random() < 0.1:
        text = f"{text}{'！' if review.language == 'zh' else '!'}"
    return text


def _part(pool: Pool, says: int, chance: random.Random) -> str:
    return chance.choice(pool[says]).text


def _join(turn: str, text: str) -> str:
    if not turn or not turn.isascii():
        return f"{turn}{text}"
    keep = text.startswith(("I ", "I'", "I’"))
    return f"{turn} {text if keep else text[:1].lower() + text[1:]}"


def _ended(text: str, language: Language) -> str:
    if text.endswith((".", "!", "?", "。", "！", "？", ")", "…")):
        return text
    return f"{text}{'。' if language == 'zh' else '.'}"
