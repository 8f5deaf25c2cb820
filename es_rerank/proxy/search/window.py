"""The rank window's hits as candidates: scores, texts, vectors, attributes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeVar, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from es_rerank.cluster.document import (
    MAX_TEXT_CHARS,
    clean_text,
    join_texts,
    join_values,
    read_values,
)
from es_rerank.cluster.fields import IndexFields
from es_rerank.ranking.candidate import Candidates, band_prices
from es_rerank.ranking.vectors import decode_codes, find_dimensions

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
UNSET = msgspec.UNSET
SCORES = msgspec.json.Decoder(list[float | None])
ESCAPED = re.compile(r'["\\\x00-\x1f]')
"""What no key holds that is found: such a one would have to be written escaped."""
SCALARS = frozenset({str, int, float, bool})
Hit = Mapping[str, msgspec.Raw]
Made = TypeVar("Made")


def gather(
    hits: Sequence[Hit],
    fields: IndexFields,
    capped: Collection[str],
    dimensions: int | None,
    every_text: bool,
    valued: Collection[str] = (),
) -> Candidates:
    """Turn hits into candidates.

    capped: attributes that crowding counts, beside those of the index. dimensions: of the codes, 0
    where none are read, None where their own length tells. every_text: whether the scorer reads
    texts; otherwise only those of hits without a stored vector are looked at. valued: fields whose
    values signals read.
    """
    names = dict.fromkeys([*fields.attributes, *capped])
    others = [*names, *valued, *([fields.price] if fields.price is not None else [])]
    code = fields.code if dimensions != 0 else None
    shown = read_shown(hits, others, code)
    vectors = present = None
    unread: Sequence[int] = range(len(hits))
    if code is not None:
        length = find_dimensions(shown.codes) if dimensions is None else dimensions
        vectors, present = decode_codes(shown.codes, length)
        if not every_text:
            unread = np.flatnonzero(~present).tolist()
    attributes = {name: shown.read(name, fold, join_attribute) for name in names}
    if fields.price is not None:
        attributes["price band"] = band_prices(
            [read_price(values) for values in shown.values(fields.price)]
        )
    return Candidates(
        first_stage=read_scores(hits),
        texts=Texts(hits, fields.text, unread),
        vectors=vectors,
        has_vector=present,
        attributes=attributes,
        values={path: shown.values(path) for path in valued},
    )


class Texts(Sequence[str | None]):
    """The hits' texts, read when somebody wants the first: often nobody does.

    wanted: positions of the hits whose text may be wanted; the others show None.
    """

    def __init__(self, hits: Sequence[Hit], paths: Sequence[str], wanted: Sequence[int]) -> None:
        self._hits, self._paths, self._wanted = hits, paths, wanted

    @cached_property
    def _texts(self) -> list[str | None]:
        texts: list[str | None] = [None] * len(self._hits)
        if self._wanted:
            shown = read_shown([self._hits[i] for i in self._wanted], self._paths)
            for i, text in zip(self._wanted, shown.texts(self._paths), strict=True):
                texts[i] = text
        return texts

    @overload
    def __getitem__(self, place: int) -> str | None: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[str | None]: ...

    def __getitem__(self, place: int | slice) -> str | Sequence[str | None] | None:
        return self._texts[place]

    def __iter__(self) -> Iterator[str | None]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._hits)


@dataclass(frozen=True)
class Shown:
    """What hits show of their documents: `_source`, and where that is silent, `fields`.

    rows: per hit the value under each of `keys`, UNSET where there is none. codes: per hit the
    stored vector's code, base64.
    """

    keys: Mapping[str, int]
    rows: Sequence[Sequence[Any]]
    codes: Sequence[str | None]

    def values(self, path: str) -> list[Sequence[Any]]:
        """Per hit the scalar values at a dotted path that was asked for."""
        own = [key for key in prefixes(path) if key in self.keys]
        if own == [path]:
            place = self.keys[path]
            return [list_scalars(row[place]) for row in self.rows]
        places = {key: self.keys[key] for key in own}
        return [
            [*read_values({k: row[i] for k, i in places.items() if row[i] is not UNSET}, path)]
            for row in self.rows
        ]

    def read(
        self, path: str, one: Callable[[str], Made], several: Callable[[Sequence[Any]], Made]
    ) -> list[Made]:
        """Per hit what `one` makes of a value that is a single text, `several` of any others."""
        if "." in path or path not in self.keys:
            return [several(values) for values in self.values(path)]
        place = self.keys[path]
        return [
            one(value) if type(value) is str else several(list_scalars(value))
            for value in [row[place] for row in self.rows]
        ]

    def texts(self, paths: Sequence[str]) -> list[str | None]:
        """Per hit the text that the model reads; None where it shows none of the fields."""
        columns = [self.read(path, clean_text, join_values) for path in paths]
        if not columns:
            return [None] * len(self.rows)
        return [join_texts(parts) or None for parts in zip(*columns, strict=True)]


def read_shown(hits: Iterable[Hit], paths: Iterable[str], code: str | None = None) -> Shown:
    """Decode what lies at the paths, and no more: the rest may be a vector of thousands of digits.

    An object that cannot be read shows nothing.
    """
    wanted = dict.fromkeys(key for path in paths for key in prefixes(path))
    keys = tuple(key for key in wanted if not ESCAPED.search(key))
    in_source = make_decoder(keys)
    in_fields = make_decoder((*keys, code)) if code is not None else in_source
    nothing = (UNSET,) * (len(keys) + 1)
    rows, codes = [], []
    for hit in hits:
        row: tuple[Any, ...] = read_object(hit, "_source", in_source) or nothing[:-1]
        listed = read_object(hit, "fields", in_fields) or nothing
        if UNSET in row and listed != nothing:
            row = tuple(b if a is UNSET else a for a, b in zip(row, listed, strict=False))
        rows.append(row)
        codes.append(first_text(listed[len(keys)]) if code is not None else None)
    return Shown({key: place for place, key in enumerate(keys)}, rows, codes)


def read_object(hit: Hit, name: str, decoder: msgspec.json.Decoder[Any]) -> tuple[Any, ...]:
    """The wanted members of one of a hit's objects; empty where it is absent or unreadable."""
    raw = hit.get(name)
    if raw is None:
        return ()
    try:
        return msgspec.structs.astuple(decoder.decode(raw))
    except UNREADABLE:
        return ()


@lru_cache(maxsize=256)
def make_decoder(keys: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """A decoder of an object's members under the keys, in that order, which skips all others."""
    members = [
        (f"_{place}", Any, msgspec.field(default=UNSET, name=key)) for place, key in enumerate(keys)
    ]
    return msgspec.json.Decoder(msgspec.defstruct("Members", members))


def prefixes(path: str) -> list[str]:
    """The keys under which a path may begin: `a.b` lies under `a`, or is a key itself."""
    parts = path.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def list_scalars(value: Any) -> Sequence[Any]:
    """The scalars in a value; those of objects have longer paths."""
    if type(value) in SCALARS:
        return (value,)
    return () if value is UNSET else [*read_values(value, "")]


def read_scores(hits: Sequence[Hit]) -> NDArray[np.float64]:
    """The hits' `_score`, (n,) float64, 0 where it is null."""
    raws = [hit.get("_score", b"null") for hit in hits]
    try:
        scores = SCORES.decode(b"[" + b",".join(raws) + b"]")
    except msgspec.DecodeError:
        return np.array([read_score(hit) for hit in hits])
    return np.array([score or 0.0 for score in scores])


def read_score(hit: Hit) -> float:
    """A hit's `_score`; 0 when it is null."""
    raw = hit.get("_score")
    value = None if raw is None else msgspec.json.decode(raw)
    return float(value) if isinstance(value, int | float) else 0.0


def first_text(value: Any) -> str | None:
    """The first of a list where it is a text, as the code in a hit's `fields` is."""
    first = value[0] if isinstance(value, list) and value else None
    return first if isinstance(first, str) else None


def fold(value: str) -> str | None:
    """An attribute's value without case."""
    return value[:MAX_TEXT_CHARS].casefold() or None


def join_attribute(values: Sequence[Any]) -> str | None:
    """An attribute's values as one, without case."""
    return join_texts([str(value) for value in values]).casefold() or None


def read_price(values: Sequence[Any]) -> float | None:
    """A price, the first where there are several; None when it is no number."""
    try:
        return float(values[0]) if values else None
    except (TypeError, ValueError):
        return None
