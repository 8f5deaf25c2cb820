"""A title as the graph reads it: folded, without what varies, and cut where it says `for`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from zlib import crc32

from es_rerank.enrich.graph.units import AXES, INSIDE, UNITS

TABLE = Path(__file__).parent / "tables" / "words.toml"
_WORDS: dict[str, list[str]] = tomllib.loads(TABLE.read_text(encoding="utf-8"))
COLOURS = _WORDS["colours"]
SHADES = _WORDS["shades"]
_COLOUR = re.compile(
    rf"\b(?:(?:{'|'.join(SHADES)})[ -])?(?:{'|'.join(c for c in COLOURS if c[0] < '⺀')})\b"
    r"|[\u4e00-\u9fff]{1,3}色|透明",
    re.IGNORECASE,
)
_SIZE = re.compile(
    r"\b(?:eu|us|uk|size|gr(?:ö|oe)sse|taille) ?\d{1,3}(?:[.,]5)?\b|\b\d{2}码"
    r"|(?<=[,|/(-]) ?\b(?:xxs|xs|s|m|l|xl|xxl|xxxl)\b(?=$|[,|/)-])|均码|加?[大中小]号",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"\b(?:refurbished|used|renewed|pre-owned|trade pack|brand new|new)\b|二手|翻新|全新|九成新",
    re.IGNORECASE,
)
_FOR = re.compile(
    r"\b(?:compatible with|designed for|suitable for|replacement for|fits|for|für|passend für"
    r"|pour|para)\b\s+(?=[\w(])|(?:适用于|适配|兼容|专用于)",
    re.IGNORECASE,
)
_WITH = re.compile(
    r"\b(?:goes well with|pairs? well with|pairs with|works with|use with|matches the"
    r"|together with)\b|(?:搭配|配合)",
    re.IGNORECASE,
)
_END = re.compile(r"\s[-–|]\s|[;|!?。，；(\[]|\. |\.$", re.IGNORECASE)
_PARTS = re.compile(r"\\n|[,;、\n]|\s(?:&|and|or|und|et)\s|和|及|\s/\s")
_TOKEN = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af]|[^\W_\u2e80-\u9fff\uac00-\ud7af]+")
_SERIES = re.compile(r"([a-z]+)(\d+)")
_SPELT = {
    "color": "colour", "gray": "grey", "aluminum": "aluminium", "fiber": "fibre", "liter": "litre",
    "meter": "metre", "center": "centre", "flavor": "flavour", "mold": "mould", "jewelry":
    "jewellery", "tire": "tyre", "pajama": "pyjama", "mustache": "moustache",
}  # fmt: skip
LEAST_CODE = 4  # characters of an article's number: `6180mfp`, not `14` or `1200`
MOST_WORDS = 6  # of a phrase in a title that names a model; a longer one is stuffed with words
VERSIONS = frozenset(_WORDS["versions"])
"""Words after a model's name that make it another model."""


def load_words(part: str) -> frozenset[str]:
    """A part of the bundled table."""
    return frozenset(_WORDS[part])


def fold(text: str) -> str:
    """Lower case, single spaces."""
    return " ".join(text.casefold().split())


@lru_cache(maxsize=1 << 16)
def respell(text: str) -> str:
    """A name as it compares: `Product Color`, `colours` and `colour` are one, `grey` and `gray`."""
    kept = [word for word in _TOKEN.findall(fold(text)) if word not in {"product", "item", "the"}]
    found = [_SPELT.get(word, word) for word in map(_singular, kept)]
    return " ".join(found)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word[-1] == "s" and word[-2] not in "sui" else word


def tokenise(text: str) -> list[str]:
    """Words of a folded text, in order; single letters of Chinese, Japanese and Korean."""
    return _TOKEN.findall(text)


@lru_cache(maxsize=1 << 16)
def hash_token(token: str) -> int:
    """30 bits of a token, whether it may be an article's number, whether it has a digit."""
    digit = any(char.isdigit() for char in token)
    coded = digit and len(token) >= LEAST_CODE and not token.isdecimal()
    return (crc32(token.encode()) & 0xFFFFFFFC) | 2 * coded | digit


def mask(text: str, values: Iterable[str] = ()) -> str:
    """The folded text without colours, sizes, conditions, and quantities that vary in a model.

    values: texts to take out as well, such as the brand and the product's own colour.
    """
    folded = fold(text)
    for value in sorted(map(fold, values), key=len, reverse=True):
        if value:
            folded = _take_out(folded, value)
    folded = INSIDE.sub(_without_axis, folded)
    for pattern in (_SIZE, _COLOUR, _CONDITION):
        folded = pattern.sub(" ", folded)
    return folded


def find_colour(text: str) -> str | None:
    """The last colour that a title names."""
    found = _COLOUR.findall(text)
    return fold(found[-1]) if found else None


def cut_title(title: str) -> tuple[str, str, list[str]]:
    """What a title is of, the rest, and what that names: `Case for Nova, Red`: Case; Nova, Red;
    Nova.
    """
    marks = [found for found in _FOR.finditer(title) if found.start() > 0]
    if not marks:
        return title, "", []
    named = []
    for place, mark in enumerate(marks):
        until = marks[place + 1].start() if place + 1 < len(marks) else len(title)
        rest = title[mark.end() : until]
        end = _END.search(rest)
        for part in split_phrases(rest[: end.start()] if end else rest):
            phrase = take_out_details(part)
            if phrase and len(phrase.split()) <= MOST_WORDS:
                named.append(phrase)
    return title[: marks[0].start()], title[marks[0].end() :], named


def take_out_details(phrase: str) -> str:
    """A phrase without quantities and colours: `T650 Black 2 pcs` names the T650."""
    return " ".join(_COLOUR.sub(" ", INSIDE.sub(" ", phrase)).split()).strip(" -x/.")


def find_companions(text: str) -> list[str]:
    """What a description says the product goes with."""
    found: list[str] = []
    for match in _WITH.finditer(text):
        rest = text[match.end() : match.end() + 80]
        end = _END.search(rest)
        found += split_phrases(rest[: end.start()] if end else rest)
    return found


def split_phrases(text: str) -> Iterator[str]:
    """The models that a text names: `Lexmark T650, T652` -> `Lexmark T650`, `T652`."""
    before: list[str] = []  # words that a bare number goes with: LaserJet 1200, 1220
    for part in _PARTS.split(text):
        phrase = part.strip(" .\t'\"")
        if phrase.isdecimal() and len(phrase) > 2 and before:
            phrase = " ".join([*before, phrase])
        if 1 < len(phrase) <= 60:
            yield from _split_series(phrase)
        *head, last = phrase.split() or [""]
        if last[:1].isdigit():
            before = head


def _split_series(phrase: str) -> Iterator[str]:
    """`CLC1100/1150` names two models, `T6100/T6200` too; words behind them say nothing more."""
    words = phrase.split()
    for place, word in enumerate(words):
        first, *others = word.split("/")
        if not others or not all(any(map(str.isdigit, part)) for part in (first, *others)):
            continue
        series = _SERIES.fullmatch(first.casefold())
        yield " ".join([*words[:place], first])
        for other in others:
            prefix = first[: len(series[1])] if series and other.isdecimal() else ""
            yield " ".join([*words[:place], f"{prefix}{other}"])
        return
    yield phrase


def _without_axis(match: re.Match[str]) -> str:
    dimension, _ = UNITS.get(match[2].casefold(), ("", 1.0))
    return " " if dimension in AXES else match[0]


def _take_out(text: str, value: str) -> str:
    """The text without a value, where it stands as words of its own."""
    start = text.find(value)
    while start >= 0:
        end = start + len(value)
        before = start > 0 and value[0].isascii() and text[start - 1].isalnum()
        behind = end < len(text) and value[-1].isascii() and text[end].isalnum()
        if (before and text[start - 1].isascii()) or (behind and text[end].isascii()):
            start = text.find(value, end)
            continue
        text = f"{text[:start]} {text[end:]}"
        start = text.find(value, start)
    return text
