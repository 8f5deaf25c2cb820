"""What a document says of its product, as the graph needs it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from es_rerank.cluster.document import clean_text, join_values, read_text, read_values
from es_rerank.cluster.fields import ATTRIBUTE_ROLES, IndexFields
from es_rerank.enrich.graph import words
from es_rerank.enrich.graph.units import bare_name, read_quantity
from es_rerank.enrich.graph.words import load_words

BRANDS, TYPES, CATEGORIES = (frozenset(ATTRIBUTE_ROLES[place].split()) for place in (0, 1, 2))
NOT_SPECS = BRANDS | TYPES | CATEGORIES | frozenset(" ".join(ATTRIBUTE_ROLES[3:5]).split())
COLOURS = frozenset(ATTRIBUTE_ROLES[5].split()) | {"product_color"}
GROUPS = load_words("groups")
CODES = load_words("codes")
SPECS = load_words("specs")
FITS = load_words("fits")
MAKERS = load_words("makers")
COMPANIONS = load_words("companions")
PLAIN = COLOURS | load_words("plain")
NOTHING = load_words("nothing") | {""}
YES = load_words("yes")
NUMBER = "number"  # the dimension of a quantity without a unit; a text has ""
LONGEST_VALUE = 60
LONGEST_OPENING = 90  # characters; what a seller adds comes behind
MOST_VALUES = 40  # of a product


@dataclass(frozen=True)
class FactFields:
    """Where a document says what: paths in its `_source`, None where nothing was found."""

    text: tuple[str, ...]
    brand: str | None
    type: str | None
    price: str | None
    group: str | None = None
    specs: tuple[str, ...] = ()  # attributes of their own, besides those inside objects


@dataclass(frozen=True)
class Facts:
    """A product. attributes: name, dimension, value: a number with it, or a folded text.

    head: the folded title without brand, colours, sizes: what names the model; tail: from `for` on.
    fits, goes_with: phrases that name other products. makers: brands whose products it fits.
    """

    id: str
    title: str
    brand: str
    type: str
    price: float
    attributes: tuple[tuple[str, str, float | str], ...]
    head: tuple[str, ...]
    tail: tuple[str, ...]
    opening: str  # how the description begins, masked likewise
    group: str = ""
    codes: tuple[str, ...] = ()
    fits: tuple[str, ...] = ()
    said: tuple[str, ...] = ()  # of fits, those that a field says, not the title
    makers: tuple[str, ...] = ()
    goes_with: tuple[str, ...] = ()

    @property
    def colour(self) -> str:
        """Its colour, "" where none is said."""
        return next((str(v) for name, _, v in self.attributes if name == "colour"), "")


def choose_fields(
    fields: IndexFields,
    *,
    brand: str | None = None,
    kind: str | None = None,
    group: str | None = None,
) -> FactFields:
    """Choose among an index's fields by their names. brand, kind, group: chosen by the user."""
    by_role: dict[str, str] = {}
    for path in fields.attributes:
        name = path.rpartition(".")[2].casefold()
        for role, names in (("brand", BRANDS), ("type", TYPES), ("category", CATEGORIES)):
            if name in names:
                by_role.setdefault(role, path)
    chosen = by_role.get("type") or by_role.get("category")
    taken = {brand, kind, *by_role.values()}
    specs = [
        path
        for path in fields.attributes
        if path not in taken and path.rpartition(".")[2].casefold() not in NOT_SPECS
    ]
    return FactFields(
        fields.text,
        brand or by_role.get("brand"),
        kind or chosen,
        fields.price,
        group,
        tuple(specs),
    )


def read_facts(key: str, source: Mapping[str, Any], fields: FactFields) -> Facts:
    """Read a product's facts from a document."""
    title = read_text(source, fields.text[0]) if fields.text else ""
    brand = _first(source, fields.brand)
    told = dict(_members(source, fields))
    attributes = list(_attributes(told))[:MOST_VALUES]
    head, tail, fits = words.cut_title(title)
    said = [
        phrase
        for name, value in told.items()
        if name.casefold() in FITS
        for each in _texts(value)
        for phrase in words.split_phrases(each)
    ]
    if not any(name == "colour" for name, _, _ in attributes):
        colour = words.find_colour(title)
        attributes += [("colour", "", colour)] if colour else []
    varying = [str(value) for name, _, value in attributes if name in ("colour", "size")]
    text = read_text(source, fields.text[-1]) if len(fields.text) > 1 else ""
    kind = _first(source, fields.type)
    return Facts(
        id=key,
        title=title,
        brand=brand,
        type=words.fold(re.split(r"[>|]", kind)[-1]),
        price=_price(source, fields.price),
        attributes=tuple(attributes),
        head=tuple(words.tokenise(words.mask(head, [brand, *varying]))),
        tail=tuple(words.tokenise(words.mask(tail, [brand, *varying]))) if tail else (),
        opening=" ".join(words.tokenise(words.mask(text[:400], [brand, *varying])))[
            :LONGEST_OPENING
        ],
        group=_group(source, fields.group),
        codes=tuple(
            word
            for name, value in source.items()
            if name.casefold() in CODES and len(word := join_values(_scalars(value))) > 5
        ),
        fits=tuple(dict.fromkeys([*said, *fits])),
        said=tuple(dict.fromkeys(said)),
        makers=tuple(
            part
            for name, value in told.items()
            if name.casefold() in MAKERS
            for each in _texts(value)
            for part in words.split_phrases(each)
        ),
        goes_with=tuple(
            dict.fromkeys(
                [
                    phrase
                    for name, value in told.items()
                    if name.casefold() in COMPANIONS
                    for each in _texts(value)
                    for phrase in words.split_phrases(each)
                ]
                + words.find_companions(text[:2000])
            )
        ),
    )


def _members(source: Mapping[str, Any], fields: FactFields) -> Iterator[tuple[str, Any]]:
    """Names and values of what may be an attribute."""
    for path in fields.specs:
        name = path.rpartition(".")[2]
        yield name, list(read_values(source, path))
    for name, value in source.items():
        folded = name.casefold()
        if folded in PLAIN or folded in FITS or folded in COMPANIONS or folded in MAKERS:
            yield name, value
        elif folded in SPECS:
            yield from _pairs(value)


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """`{"a": 1}`, `[{"name": "a", "value": 1}]` and `["a: 1"]` alike."""
    if isinstance(value, Mapping):
        yield from value.items()
        return
    for each in value if isinstance(value, list) else ():
        if isinstance(each, Mapping):
            name = each.get("name") or each.get("key")
            if isinstance(name, str):
                yield name, each.get("value", each.get("values"))
        elif isinstance(each, str) and ":" in each:
            name, _, rest = each.partition(":")
            yield name.strip(), rest.strip()


def _attributes(told: Mapping[str, Any]) -> Iterator[tuple[str, str, float | str]]:
    for name, value in told.items():
        folded = name.casefold().strip().replace(" ", "_")
        if folded in FITS or folded in MAKERS or folded in COMPANIONS:
            continue
        for each in _scalars(value):
            quantity = read_quantity(each, folded)
            if quantity is not None:
                yield bare_name(folded), quantity.dimension or NUMBER, quantity.value
                continue
            text = words.fold(str(each))
            if text in NOTHING or len(text) > LONGEST_VALUE:
                continue
            if folded in COLOURS and text not in YES:
                yield "colour", "", text
            else:
                yield bare_name(folded), "", "yes" if text in YES else text


def _scalars(value: Any) -> Sequence[Any]:
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str | int | float)][:8]


def _texts(value: Any) -> list[str]:
    return [html.unescape(each) for each in _scalars(value) if isinstance(each, str)]


def _first(source: Mapping[str, Any], path: str | None) -> str:
    value = next(read_values(source, path), None) if path else None
    return "" if value is None else clean_text(str(value))


def _price(source: Mapping[str, Any], path: str | None) -> float:
    value = next(read_values(source, path), None) if path else None
    try:
        price = float(value) if value is not None else 0.0
    except (TypeError, ValueError):
        return 0.0
    return price if 0 < price < 1e12 else 0.0


def _group(source: Mapping[str, Any], path: str | None) -> str:
    if path is not None:
        return _first(source, path)
    for name, value in source.items():
        if name.casefold() in GROUPS and isinstance(value, str | int):
            return str(value)
    return ""
