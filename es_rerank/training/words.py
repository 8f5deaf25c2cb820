"""What shoppers call things: other words for a type, wide words over several, needs; and typos."""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from es_rerank.ranking.lexical import fold_plural

TABLE = Path(__file__).parent / "tables" / "words.toml"
NEIGHBOURS = {
    "a": "qs", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj",
    "i": "uo", "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o",
    "q": "w", "r": "et", "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "x": "zc",
    "y": "tu", "z": "x",
}  # fmt: skip


@dataclass(frozen=True)
class Words:
    """same: type -> other words for it. wide: word -> types under it. need: type -> sentences."""

    same: Mapping[str, tuple[str, ...]]
    wide: Mapping[str, tuple[str, ...]]
    need: Mapping[str, tuple[str, ...]]


@cache
def load_words() -> Words:
    """The bundled table."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return Words(
        *(
            {key: tuple(values) for key, values in table[part].items()}
            for part in ("same", "wide", "need")
        )
    )


def misspell(text: str, chance: random.Random) -> str:
    """One slip of the keyboard in one word of five letters or more; the text itself without one."""
    words = text.split()
    long = [i for i, word in enumerate(words) if len(word) >= 5 and word.isalpha()]
    if not long:
        return text
    i = chance.choice(long)
    word = words[i]
    at = chance.randrange(1, len(word) - 1)
    kind = chance.randrange(4)
    if kind == 0:
        word = word[:at] + word[at + 1 :]
    elif kind == 1:
        word = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    elif kind == 2:
        word = word[:at] + word[at] + word[at:]
    else:
        word = word[:at] + chance.choice(NEIGHBOURS.get(word[at], word[at])) + word[at + 1 :]
    return " ".join([*words[:i], word, *words[i + 1 :]])


def pluralise(text: str) -> str:
    """A type in the plural, as many shoppers write it."""
    if text.endswith(("s", ")")) or not text[-1:].isalpha():
        return text
    if text.endswith("y") and text[-2:-1] not in "aeiou":
        return f"{text[:-1]}ies"
    return f"{text}es" if text.endswith(("x", "ch", "sh")) else f"{text}s"


def plain(text: str) -> str:
    """A query without punctuation that nobody types."""
    return " ".join(re.sub(r"[®™()\[\],;:|\"“”]", " ", text).split())


def bag(text: str) -> frozenset[str]:
    """The folded words of a text, in the singular."""
    return frozenset(fold_plural(word) for word in re.findall(r"[^\W_]+", text.casefold()))
