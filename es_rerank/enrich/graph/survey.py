"""The first reading of a catalogue: the facts of all products, kept in columns.

A product costs some 700 bytes here, and as many again once they are joined: hashes of its title's
words, numbers of its brand, type and attributes, keys that variants share. Names are kept once.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, KeysView
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.enrich.graph.facts import Facts
from es_rerank.enrich.graph.words import fold, hash_token, respell

SAMPLED_TITLES = 60  # of a type, to learn what else it is called
LEAST_OPENING = 40  # characters of a description that tell a model from another
NONE = 0


def hash_key(*parts: str) -> int:
    """64 bits of some texts, never 0."""
    told = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8)
    return int.from_bytes(told.digest(), "little") or 1


class Pool:
    """Names by number, 0 for none; spellings that compare alike have one number."""

    def __init__(self) -> None:
        self.names: list[str] = [""]
        self._numbers: dict[str, int] = {"": NONE}

    def __len__(self) -> int:
        return len(self.names)

    @property
    def known(self) -> KeysView[str]:
        """What tells the names from one another."""
        return self._numbers.keys()

    def add(self, name: str, alike: str | None = None) -> int:
        """The name's number. alike: what tells it from others; the name itself if None."""
        key = name if alike is None else alike
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.names)
            self.names.append(name)
        return number

    def find(self, name: str, alike: str | None = None) -> int:
        """The name's number, 0 where it is not known."""
        return self._numbers.get(name if alike is None else alike, NONE)


@dataclass(frozen=True)
class Phrases:
    """What a product says of others: what it fits, what it goes with, whose products it fits."""

    fits: tuple[str, ...]
    said: tuple[str, ...]
    goes_with: tuple[str, ...]
    makers: tuple[str, ...]


@dataclass(frozen=True)
class Columns:
    """All products, by row. starts: (n + 1,) offsets into the flat columns behind them."""

    ids: list[str]
    types: NDArray[np.int32]
    brands: NDArray[np.int32]
    prices: NDArray[np.float32]
    token_starts: NDArray[np.int64]
    tokens: NDArray[np.uint32]
    heads: NDArray[np.int32]  # how many of a title's come before `for`
    value_starts: NDArray[np.int64]
    value_names: NDArray[np.int32]
    values: NDArray[np.float64]  # a quantity, or the number of a text
    openings: NDArray[np.uint64]  # keys, 0 for none
    groups: NDArray[np.uint64]
    codes: NDArray[np.uint64]

    @property
    def count(self) -> int:
        """How many products there are."""
        return len(self.ids)


@dataclass
class Survey:
    """What has been read so far."""

    types: Pool = field(default_factory=Pool)
    brands: Pool = field(default_factory=Pool)
    names: Pool = field(default_factory=Pool)  # of attributes, with their dimension
    texts: Pool = field(default_factory=Pool)  # values of attributes
    phrases: dict[int, Phrases] = field(default_factory=dict)
    samples: dict[int, list[tuple[int, str, int]]] = field(default_factory=dict)
    _ids: list[str] = field(default_factory=list)
    _columns: dict[str, array[Any]] = field(
        default_factory=lambda: {
            name: array(code)
            for name, code in (
                ("types", "i"), ("brands", "i"), ("prices", "f"), ("token_starts", "q"),
                ("tokens", "I"), ("heads", "i"), ("value_starts", "q"), ("value_names", "i"),
                ("values", "d"), ("openings", "Q"), ("groups", "Q"), ("codes", "Q"),
            )
        }
    )  # fmt: skip

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, facts: Facts) -> None:
        """Keep a product's facts."""
        row = len(self._ids)
        columns = self._columns
        self._ids.append(facts.id)
        kind = self.types.add(facts.type, respell(facts.type))
        columns["types"].append(kind)
        columns["brands"].append(self.brands.add(facts.brand, fold(facts.brand)))
        columns["prices"].append(facts.price)
        columns["token_starts"].append(len(columns["tokens"]))
        columns["tokens"].extend(map(hash_token, facts.head + facts.tail))
        columns["heads"].append(len(facts.head))
        columns["value_starts"].append(len(columns["values"]))
        for name, dimension, value in facts.attributes:
            columns["value_names"].append(self.names.add(*name_key(name, dimension)))
            if isinstance(value, str):
                value = self.texts.add(value, respell(value))  # noqa: PLW2901
            columns["values"].append(value)
        columns["openings"].append(opening_key(facts))
        columns["groups"].append(group_key(facts))
        columns["codes"].append(code_key(facts))
        if facts.fits or facts.goes_with:
            self.phrases[row] = Phrases(facts.fits, facts.said, facts.goes_with, facts.makers)
        if kind:
            self._sample(kind, facts)

    def columns(self) -> Columns:
        """All rows as arrays."""
        self._columns["token_starts"].append(len(self._columns["tokens"]))
        self._columns["value_starts"].append(len(self._columns["values"]))
        kinds = {"i": np.int32, "f": np.float32, "q": np.int64, "I": np.uint32, "d": np.float64}
        made: dict[str, Any] = {
            name: np.frombuffer(held, kinds.get(held.typecode, np.uint64))
            if len(held)
            else np.empty(0, kinds.get(held.typecode, np.uint64))
            for name, held in self._columns.items()
        }
        return Columns(ids=self._ids, **made)

    def _sample(self, kind: int, facts: Facts) -> None:
        """Keep the titles of a type whose ids hash lowest, whatever the order they come in."""
        held = self.samples.setdefault(kind, [])
        held.append((hash_key(facts.id), " ".join(facts.head), self.brands.find(fold(facts.brand))))
        if len(held) > 2 * SAMPLED_TITLES:
            held.sort()
            del held[SAMPLED_TITLES:]


def name_key(name: str, dimension: str) -> tuple[str, str]:
    """An attribute's name as it is kept, and as it compares."""
    return f"{name}\t{dimension}", f"{respell(name.replace('_', ' '))}\t{dimension}"


def opening_key(facts: Facts) -> int:
    """What descriptions of one model share, 0 where there is too little of one."""
    if len(facts.opening) < LEAST_OPENING:
        return NONE
    return hash_key("opening", fold(facts.brand), facts.type, facts.opening)


def group_key(facts: Facts) -> int:
    """What a shop's own group of variants shares, 0 without one."""
    return hash_key("group", fold(facts.brand), facts.group) if facts.group else NONE


def code_key(facts: Facts) -> int:
    """What offers of one article share, 0 without an article number."""
    return hash_key("code", fold(facts.brand), min(facts.codes)) if facts.codes else NONE


def hash_tokens(tokens: Iterable[str]) -> list[int]:
    """The hashes of words, in order."""
    return [hash_token(token) for token in tokens]
