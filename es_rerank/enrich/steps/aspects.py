"""What a review speaks of: its clauses, and the aspects whose words are in them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

from es_rerank.models.sentiment.lexicon import CJK

MAX_CLAUSES = 40
"""Of a review, what is looked at."""
MIN_CLAUSE = 3
CLAUSE = re.compile(
    r"(?<=[.!?…;])\s+|\n+|(?<=[。！？；])|(?<=[，,])(?=\s*(?:but|however|though|although|yet)\b)"
    r"|\s+(?=(?:but|however|although)\s)|[，,](?=\s*[\u4e00-\u9fff])",
    re.I,
)
EDGES = " ,，;；、-–—"


@cache
def default_aspects() -> dict[str, tuple[str, ...]]:
    """The aspects that everybody has, each with its words."""
    file = resources.files("es_rerank.enrich.steps") / "aspects.toml"
    table = tomllib.loads(file.read_text(encoding="utf-8"))["aspects"]
    return {name: tuple(words) for name, words in table.items()}


def choose_aspects(own: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The default aspects with a recipe's own: words are added, an empty list takes one out."""
    chosen = dict(default_aspects())
    for name, words in own.items():
        if words:
            chosen[name] = tuple(dict.fromkeys((*chosen.get(name, ()), *words)))
        else:
            chosen.pop(name, None)
    return chosen


class AspectFinder:
    """Finds aspects by their words: English ones whole, or by a beginning with `*`, any case."""

    def __init__(self, aspects: Mapping[str, Sequence[str]]) -> None:
        self._patterns = {name: _any_of(words) for name, words in aspects.items()}

    def find(self, clause: str) -> list[str]:
        """The names of the aspects that a clause speaks of, in the table's order."""
        return [name for name, pattern in self._patterns.items() if pattern.search(clause)]


def split_clauses(text: str) -> list[str]:
    """A clean review's sentences, parted also where it turns (“but”) and at Chinese commas.

    At most MAX_CLAUSES; scraps are left out.
    """
    parts = (part.strip(EDGES) for part in CLAUSE.split(text))
    return [part for part in parts if len(part) >= MIN_CLAUSE][:MAX_CLAUSES]


def _any_of(words: Sequence[str]) -> re.Pattern[str]:
    parts = []
    for word in words:
        if CJK.search(word):
            parts.append(re.escape(word))
        elif word.endswith("*"):
            parts.append(rf"\b{re.escape(word[:-1])}")
        else:
            parts.append(rf"\b{re.escape(word)}\b")
    return re.compile("|".join(parts), re.I)
