"""Words of opinion and what stands around them: negation, strength, wishes, contrast.

In the way of VADER (Hutto and Gilbert, ICWSM 2014), with words and phrases of product reviews, in
English and Chinese, which are ours and lie in tables/.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

Language = Literal["en", "zh"]
CJK = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
LETTER = re.compile(r"[^\W\d_]")
TOKEN = re.compile(
    r"\d+/\d+|a\++|[a-z]+(?:'[a-z]+)*|\d+|[.!?;:,()\n…]|[^\x00-\x7f]|[:;=]-?[()dp](?![a-z])"
)
STRETCHED = re.compile(r"(.)\1{2,}")
BREAKS = frozenset(".!?;:()\n…,")
STOPS = frozenset(".!?\n…")
WIDE_BREAKS = re.compile(r"[，。！？；：、,.!?;:\n…~～\s]+")
WIDE_STOPS = re.compile(r"[。！？；!?;\n…~～]+|\.{2,}|(?<!\d)\.(?!\d)")
REACH = 4  # words that a negation reaches over
WIDE_REACH = 5  # characters
A_BIT = re.compile(
    r"^(?:了|得)?(?:那么|这么)?(?:一点|一些|些|点儿?)"
)  # “慢了点” is hardly a complaint
NOT_NEGATING = re.compile(
    r"不仅|不但|不光|不止|不愧|不得不|不管|不论|不一会|不用说|不到一|无论|没想到|没多久|别说|别人|别的|特别"
    r"|差不多|不知不觉|不要太"
)
EMOJI = {
    1: "👍😍❤♥😊😀😁😃😄🙂🥰😘👏🎉💯🤩✨💕💖😋🌹👌💪😂🌟⭐",
    -1: "👎😡😠😞😢😭🤬😤🤮💩😩😒🙄😔🤢😣🥲💔😑",
}
FACES = {
    ":)": 2.0,
    ":-)": 2.0,
    ":d": 2.5,
    ";)": 1.0,
    "=)": 2.0,
    ":(": -2.0,
    ":-(": -2.0,
    "=(": -2.0,
}


@dataclass(frozen=True)
class Hit:
    """A word of opinion. sentence: its number in the text. weight: with all that stands around it;
    base: without. after: whether a contrast ("but") comes before it in its sentence."""

    sentence: int
    weight: float
    base: float
    after: bool


@dataclass(frozen=True)
class Reading:
    """What the words of a text say."""

    language: Language
    hits: tuple[Hit, ...]
    sentences: int
    words: int
    negations: int
    wishes: int
    contrasts: int
    exclamations: int
    questions: int


@dataclass(frozen=True)
class Lexicon:
    """The tables of one language."""

    weights: Mapping[str, float]
    tokens: Mapping[str, frozenset[str]]
    heads: Mapping[str, tuple[tuple[str, ...], ...]]  # first word -> phrases, the longest first
    stems: tuple[tuple[str, float], ...]
    pattern: re.Pattern[str]
    negators: re.Pattern[str]
    stronger: re.Pattern[str]
    weaker: re.Pattern[str]
    unreal: re.Pattern[str]
    contrast: re.Pattern[str]
    concession: re.Pattern[str]


def find_language(text: str) -> Language:
    """`zh` where at least a fifth of the letters are Chinese, else `en`."""
    wide = len(CJK.findall(text))
    return "zh" if wide and wide * 5 >= len(LETTER.findall(text)) else "en"


def read_opinions(text: str, language: Language | None = None) -> Reading:
    """Find the words of opinion. text: clean, on one line or several."""
    found = language or find_language(text)
    return _read_chinese(text) if found == "zh" else _read_english(text)


@cache
def load_lexicon(language: Language) -> Lexicon:
    """Read the tables."""
    name = {"en": "english", "zh": "chinese"}[language]
    file = resources.files("es_rerank.models.sentiment") / "tables" / f"{name}.toml"
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    weights: dict[str, float] = {}
    stems = []
    for weight, words in table["weights"].items():
        for word in words.split():
            if word.endswith("*"):
                stems.append((word[:-1], float(weight)))
            else:
                weights[word.replace("_", " ")] = float(weight)
    tokens = {
        role: frozenset(word.replace("_", " ") for word in words.split())
        for role, words in table["tokens"].items()
    }
    phrases = list(weights) + [word for words in tokens.values() for word in words if " " in word]
    heads: dict[str, set[tuple[str, ...]]] = {}
    for phrase in phrases:
        parts = tuple(phrase.split())
        if len(parts) > 1:
            heads.setdefault(parts[0], set()).add(parts)
    return Lexicon(
        weights,
        tokens,
        {first: tuple(sorted(found, key=len, reverse=True)) for first, found in heads.items()},
        tuple(stems),
        _any_of(weights),
        *(
            _any_of(tokens[role])
            for role in ("negators", "stronger", "weaker", "unreal", "contrast", "concession")
        ),
    )


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True))))


def _read_english(text: str) -> Reading:
    lexicon = load_lexicon("en")
    lowered = text.lower().replace("’", "'").replace("‘", "'")
    units = _join_phrases(TOKEN.findall(lowered), lexicon)
    hits: list[Hit] = []
    counts = dict.fromkeys(("sentences", "words", "negations", "wishes", "contrasts"), 0)
    clause: list[str] = []
    after = conceded = open_sentence = False
    for unit in units:
        if unit in BREAKS:
            clause = []
            conceded = False
            if unit in STOPS:
                counts["sentences"] += open_sentence
                after = open_sentence = False
            continue
        open_sentence = True
        counts["words"] += 1
        if unit in lexicon.tokens["contrast"]:
            after, conceded, clause = True, False, []
            counts["contrasts"] += 1
        elif unit in lexicon.tokens["concession"]:
            conceded = True
            counts["contrasts"] += 1
        base = _weigh(unit, lexicon)
        counts["negations"] += unit in lexicon.tokens["negators"]
        counts["wishes"] += unit in lexicon.tokens["unreal"]
        if base:
            near = clause[-REACH:]
            weight = _bend(
                base,
                negated=any(word in lexicon.tokens["negators"] for word in near)
                and not any(word == "only" for word in near),
                unreal=any(word in lexicon.tokens["unreal"] for word in clause[-6:]),
                stronger=any(word in lexicon.tokens["stronger"] for word in near[-2:]),
                weaker=any(word in lexicon.tokens["weaker"] for word in near[-2:]),
                too=bool(near) and near[-1] == "too",
            )
            if conceded:
                weight *= 0.5
            hits.append(Hit(counts["sentences"], weight, base, after))
        clause.append(unit)
    return Reading(
        "en",
        tuple(hits),
        counts["sentences"] + open_sentence,
        counts["words"],
        counts["negations"],
        counts["wishes"],
        counts["contrasts"],
        text.count("!"),
        text.count("?"),
    )


def _join_phrases(tokens: list[str], lexicon: Lexicon) -> list[str]:
    """The tokens with known phrases as one each."""
    units: list[str] = []
    at = 0
    while at < len(tokens):
        for parts in lexicon.heads.get(tokens[at], ()):
            if tuple(tokens[at : at + len(parts)]) == parts:
                units.append(" ".join(parts))
                at += len(parts)
                break
        else:
            units.append(tokens[at])
            at += 1
    return units


def _weigh(unit: str, lexicon: Lexicon) -> float:
    if (weight := lexicon.weights.get(unit)) is not None:
        return weight
    if not unit.isascii():
        return next((2.5 * sign for sign, signs in EMOJI.items() if unit in signs), 0.0)
    if unit in FACES:
        return FACES[unit]
    if STRETCHED.search(unit):  # "sooo goood"
        for squeezed in (STRETCHED.sub(r"\1\1", unit), STRETCHED.sub(r"\1", unit)):
            if squeezed in lexicon.weights:
                return lexicon.weights[squeezed] * 1.25
    return next((weight for stem, weight in lexicon.stems if unit.startswith(stem)), 0.0)


def _bend(
    base: float, *, negated: bool, unreal: bool, stronger: bool, weaker: bool, too: bool
) -> float:
    """A word's weight among its neighbours."""
    if too and base > 0:
        return -1.0
    weight = base * (1.25 if stronger else 1.0) * (0.7 if weaker else 1.0)
    if negated:
        # What is not good is bad; what is not bad is hardly good.
        weight *= -0.75 if base > 0 else -0.5
    elif unreal:
        weight *= -0.3 if base > 0 else 0.5
    return weight


def _read_chinese(text: str) -> Reading:
    lexicon = load_lexicon("zh")
    hits: list[Hit] = []
    sentences = negations = wishes = contrasts = 0
    for sentence in filter(str.strip, WIDE_STOPS.split(text.lower())):
        after = False
        for part in filter(None, WIDE_BREAKS.split(sentence)):
            clause = NOT_NEGATING.sub(lambda found: "〇" * len(found[0]), part)
            negations += len(lexicon.negators.findall(clause))
            wishes += len(lexicon.unreal.findall(clause))
            turns = [found.start() for found in lexicon.contrast.finditer(part)]
            contrasts += len(turns)
            conceded = lexicon.concession.match(part) is not None
            end = 0
            for found in lexicon.pattern.finditer(part):
                base = lexicon.weights[found[0]]
                before = clause[max(end, found.start() - WIDE_REACH) : found.start()]
                near = before[-2:]
                weight = _bend(
                    base,
                    negated=lexicon.negators.search(before) is not None,
                    unreal=lexicon.unreal.search(clause[: found.start()]) is not None,
                    stronger=lexicon.stronger.search(near) is not None,
                    weaker=lexicon.weaker.search(before[-3:]) is not None
                    or A_BIT.match(part[found.end() :]) is not None,
                    too=False,
                )
                if conceded:
                    weight *= 0.5
                turned = after or any(turn <= found.start() for turn in turns)
                hits.append(Hit(sentences, weight, base, turned))
                end = found.end()
            after = after or bool(turns)
        sentences += 1
    for sign, signs in EMOJI.items():
        for _ in range(min(3, sum(text.count(each) for each in signs))):
            hits.append(Hit(max(0, sentences - 1), 2.5 * sign, 2.5 * sign, False))
    return Reading(
        "zh",
        tuple(hits),
        sentences,
        len(CJK.findall(text)),
        negations,
        wishes,
        contrasts,
        text.count("!") + text.count("！"),
        text.count("?") + text.count("？"),
    )
