"""The rank window's hits as candidates: scores, texts, vectors, attributes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, TypeVar, overload

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
from es_rerank.models.runtime import hash_text
from es_rerank.proxy.search.seen import Document, Hit, Seen, weigh
from es_rerank.ranking.candidate import Candidates, band_prices
from es_rerank.ranking.vectors import decode_codes, find_dimensions

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
UNSET = msgspec.UNSET
SCORES = msgspec.json.Decoder(list[float | None])
ESCAPED = re.compile(r'["\\\x00-\x1f]')
"""What no key holds that is found: such a one would have to be written escaped."""
SCALARS = frozenset({str, int, float, bool})
Made = TypeVar("Made")


def gather(
    hits: Sequence[Hit],
    fields: IndexFields,
    capped: Collection[str],
    dimensions: int | None,
    every_text: bool,
    valued: Collection[str] = (),
    seen: Seen | None = None,
    labelled: bool = False,
) -> Candidates:
    """Turn hits into candidates.

    capped: attributes that crowding counts, beside those of the index. dimensions: of the codes, 0
    where none are read, None where their own length tells. every_text: whether the scorer reads
    texts; otherwise only those of hits without a stored vector are looked at. valued: fields whose
    values signals read. seen: documents that need not be read again. labelled: whether texts name
    their fields.
    """
    names = tuple(dict.fromkeys([*fields.attributes, *capped]))
    code = fields.code if dimensions != 0 else None
    if code is not None and dimensions is None:
        codes = read_shown(hits, (), code).codes
        dimensions = find_dimensions(codes)
    recipe = Recipe(names, fields.price, code, dimensions or 0, tuple(fields.text), labelled)
    documents = read_documents(hits, recipe, seen)
    vectors = present = None
    unread: Sequence[int] = range(len(hits))
    if code is not None:
        found = [(i, one.vector) for i, one in enumerate(documents) if one.vector is not None]
        vectors = np.zeros((len(hits), recipe.dimensions), np.float32)
        present = np.zeros(len(hits), np.bool_)
        if found:
            rows = [i for i, _ in found]
            vectors[rows], present[rows] = [vector for _, vector in found], True
        if not every_text:
            unread = np.flatnonzero(~present).tolist()
    columns = map(list, zip(*(one.attributes for one in documents), strict=True))
    attributes: dict[str, Sequence[str | None]] = (
        dict(zip(names, columns, strict=True)) if documents else {name: [] for name in names}
    )
    if fields.price is not None:
        attributes["price band"] = band_prices([one.price for one in documents])
    shown = read_shown(hits, valued) if valued else None
    return Candidates(
        first_stage=read_scores(hits),
        texts=Texts(hits, recipe, unread, documents),
        vectors=vectors,
        has_vector=present,
        attributes=attributes,
        values={} if shown is None else {path: shown.values(path) for path in valued},
    )


class Recipe(NamedTuple):
    """What is read of a document: attributes, price, the stored vector's code, and text.

    labelled: whether each field's name stands before its text.
    """

    names: tuple[str, ...]
    price: str | None
    code: str | None
    dimensions: int
    text: tuple[str, ...]
    labelled: bool = False


def read_documents(hits: Sequence[Hit], recipe: Recipe, seen: Seen | None) -> list[Document]:
    """Read hits, but for their texts, or find them read already."""
    if seen is None:
        return read_anew(hits, recipe)
    keys, known = seen.find(recipe, hits)
    missing = [i for i, one in enumerate(known) if one is None]
    fresh = iter(read_anew([hits[i] for i in missing], recipe))
    documents = [next(fresh) if one is None else one for one in known]
    seen.keep(keys, documents)
    return documents


def read_anew(hits: Sequence[Hit], recipe: Recipe) -> list[Document]:
    """Read hits, but for their texts."""
    others = [*recipe.names, *([recipe.price] if recipe.price is not None else [])]
    shown = read_shown(hits, others, recipe.code)
    vectors: list[NDArray[np.float32] | None] = [None] * len(hits)
    if recipe.code is not None:
        rows, present = decode_codes(shown.codes, recipe.dimensions)
        for i in np.flatnonzero(present).tolist():
            vectors[i] = rows[i].copy()  # a view would keep the whole window in memory
    columns = [shown.read(name, fold, join_attribute) for name in recipe.names]
    attributes = list(zip(*columns, strict=True)) if columns else [()] * len(hits)
    prices: list[float | None] = [None] * len(hits)
    if recipe.price is not None:
        prices = [read_price(values) for values in shown.values(recipe.price)]
    return [
        Document(*each, weigh(hit, each[2]))
        for hit, each in zip(hits, zip(attributes, prices, vectors, strict=True), strict=True)
    ]


class Texts(Sequence[str | None]):
    """The hits' texts, read when somebody wants the first: often nobody does.

    wanted: positions of the hits whose text may be wanted; the others show None. documents: the
    hits as they were read, which keep their texts.
    """

    def __init__(
        self,
        hits: Sequence[Hit],
        recipe: Recipe,
        wanted: Sequence[int],
        documents: Sequence[Document],
    ) -> None:
        self._hits, self._recipe, self._wanted = hits, recipe, wanted
        self._documents = documents

    @cached_property
    def _texts(self) -> list[str | None]:
        documents = self._documents
        unread = [i for i in self._wanted if not documents[i].read]
        if unread:
            paths, labelled = self._recipe.text, self._recipe.labelled
            shown = read_shown([self._hits[i] for i in unread], paths)
            for i, text in zip(unread, shown.texts(paths, labelled), strict=True):
                documents[i].text, documents[i].read = text, True
        texts: list[str | None] = [None] * len(self._hits)
        for i in self._wanted:
            texts[i] = documents[i].text
        return texts

    def hash_at(self, place: int) -> bytes:
        """The hash of the text there, which is kept with it."""
        document = self._documents[place]
        if document.key is None:
            document.key = hash_text(self._texts[place] or "")
        return document.key

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

    def texts(self, paths: Sequence[str], labelled: bool = False) -> list[str | None]:
        """Per hit the text that the model reads; None where it shows none of the fields."""
        columns = [self.read(path, clean_text, join_values) for path in paths]
        if not columns:
            return [None] * len(self.rows)
        if labelled:
            names = [label(path) for path in paths]
            return [join_labelled(names, parts) or None for parts in zip(*columns, strict=True)]
        return [join_texts(parts) or None for parts in zip(*columns, strict=True)]


def label(path: str) -> str:
    """A field's name for a reader: `attributes.heel_height` is `heel height`."""
    return path.rpartition(".")[2].replace("_", " ")


def join_labelled(names: Sequence[str], texts: Sequence[str]) -> str:
    """Join texts as `title: red shoe. brand: Acme`; empty and repeated ones are left out."""
    own = {text: name for name, text in zip(reversed(names), reversed(texts), strict=True) if text}
    return join_texts([f"{own[text]}: {text}" for text in dict.fromkeys(texts) if text])


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
