"""Products to learn from, whatever shop they come from: Icecat, the sample shop, or any JSON lines.

A product's text is what the proxy would read of it, so that the model is trained on what it serves.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from es_rerank.cluster.document import clean_text, document_text
from es_rerank.cluster.fields import find_fields
from es_rerank.datasets import icecat
from es_rerank.demo import sample
from es_rerank.enrich.graph.units import SPELT_UNITS
from es_rerank.errors import DataError

SOURCES_OF_CERTAIN_TYPES = frozenset({"title", "phrase", "attr"})
TELLING_COUNT, TELLING_SHARE = 12, 0.9
YES = frozenset({"yes", "true", "y"})
NO = frozenset({"no", "none", "false", "n", "unspecified", "not supported"})
SENTENCE = re.compile(r"[^.!?\n]+")
BULLET = re.compile(r"^[\W_]+")


@dataclass(frozen=True)
class Product:
    """One product as weak labels see it.

    text: what the model reads. names: its name without brand and type, for partial titles. type:
    folded, None where unknown; certain: whether the type is sure enough to learn from. attributes:
    name -> folded values, numbers with their unit. fits: what it is made for. sentences: of the
    description. praise: sentences of reviews that liked it.
    """

    id: str
    title: str
    text: str
    brand: str | None
    type: str | None
    certain: bool
    attributes: Mapping[str, tuple[str, ...]]
    family: str | None = None
    fits: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    praise: tuple[str, ...] = ()
    names: str = ""


def load_catalogue(data_dir: Path | None) -> list[Product]:
    """The products of a folder: Icecat's, or those of any `*.jsonl` (`.gz`); None is the sample.

    Raises DataError naming the folder, and what it must hold.
    """
    if data_dir is None:
        return [read_sample(row) for row in sample.load_products() if row["language"] == "en"]
    if any((data_dir / f"{icecat.PRODUCTS}{end}").exists() for end in ("", ".gz")):
        return settle_types([read_icecat(row) for row in icecat.load_products(data_dir)])
    paths = sorted([*data_dir.glob("*.jsonl"), *data_dir.glob("*.jsonl.gz")])
    if not paths:
        raise DataError(
            f"{data_dir} holds no catalogue: put a file of products there, one JSON object a line, "
            "named *.jsonl or *.jsonl.gz"
        )
    rows = [row for path in paths for row in read_lines(path)]
    return read_any(rows)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines. Raises DataError."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise DataError(f"line {number} of {path} is not JSON: {error}") from error
                if not isinstance(row, dict):
                    raise DataError(f"line {number} of {path} is no JSON object")
                yield row
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read ({error})") from error


def read_icecat(row: Mapping[str, Any]) -> Product:
    """A product of Icecat. Types that were guessed from neighbours are not certain."""
    brand, title, name = str(row["brand"]), str(row["title"]), str(row.get("name") or "")
    kind = fold(str(row.get("derived_type") or ""))
    certain = row.get("derived_type_source") in SOURCES_OF_CERTAIN_TYPES
    kind, certain = correct_type(kind, certain, title)
    attributes = read_attributes(row.get("attributes") or {})
    fits = tuple(
        value
        for key in ("compatibility", "brand_compatibility")
        for part in attributes.pop(key, ())
        for value in re.split(r",|\\n|;", part)
        if 2 < len(value.strip()) < 40
    )
    text = document_text(row, ("title", "name", "description"))
    return Product(
        id=str(row["id"]),
        title=title,
        text=text,
        brand=brand,
        type=kind or None,
        certain=certain,
        attributes=attributes,
        fits=tuple(value.strip() for value in fits),
        sentences=tuple(split_sentences(str(row.get("description") or ""))),
        names=name,
    )


def correct_type(kind: str, certain: bool, title: str) -> tuple[str, bool]:
    """Mend what the derived types of Icecat are known to confuse."""
    words = kind.split()
    if len(words) > 1 and words[-1] in {"usb", "vga"}:  # `mouse usb`: the slot swallowed a value
        kind = " ".join(words[:-1])
    folded = fold(title)
    if kind in {"pc", "notebook"} and re.search(
        r"warranty|extended|service|hw supp|support|carepack|trvl", folded
    ):
        return "warranty/support extension", True
    if kind in {"pc", "portable"} and re.search(r"notebook|laptop|ultrabook", folded):
        return "notebook", certain
    if re.search(r"\b(single|dual) sim\b", folded):
        return "mobile phone", True
    if re.search(r"\btv \d+(\.\d+)? cm|\b(lcd|led|plasma) tv\b", folded) and not re.search(
        r"mount|bracket|stand|remote|cable|hospitality", folded
    ):
        return "tv", True
    if re.search(r"(laserjet|officejet|photosmart|deskjet|phaser|workforce|pixma)\b.* dpi", folded):
        return (kind, True) if "printer" in kind or kind == "multifunctional" else ("printer", True)
    if re.search(r"\b\d+ ?(pcs|pieces)\b", folded) and kind == "pc":
        return kind, False
    if kind == "vga":
        return "video splitter", False
    return kind, certain and kind not in {"not categorized", "component", "portable"}


def settle_types(products: Sequence[Product]) -> list[Product]:
    """Make guessed types certain where attributes agree that nearly one type alone has."""
    owners: dict[str, Counter[str]] = defaultdict(Counter)
    for product in products:
        if product.certain and product.type:
            for name in product.attributes:
                owners[name][product.type] += 1
    telling = {}
    for name, kinds in owners.items():
        (kind, count), total = kinds.most_common(1)[0], kinds.total()
        if total >= TELLING_COUNT and count >= TELLING_SHARE * total:
            telling[name] = kind
    settled = []
    for product in products:
        told = [telling[name] for name in product.attributes if name in telling]
        agreed = len(set(told)) == 1 and (told[0] == product.type or len(told) > 2)
        if not product.certain and agreed:
            product = replace(product, type=told[0], certain=True)  # noqa: PLW2901
        settled.append(product)
    return settled


def read_sample(row: Mapping[str, Any]) -> Product:
    """A product of the sample shop, with what its reviews praise."""
    attributes = read_attributes(row["attributes"])
    for name in ("colour", "size", "condition"):
        if row.get(name) and row[name] != "new":
            attributes[name] = (fold(str(row[name])),)
    praise = [
        sentence
        for review in row.get("reviews", ())
        if review["rating"] >= 4
        for sentence in split_sentences(review["text"])
    ]
    return Product(
        id=row["id"],
        title=row["title"],
        text=document_text(row, ("title", "description")),
        brand=row["brand"],
        type=fold(row["type"]),
        certain=True,
        attributes=attributes,
        family=row["family"],
        fits=tuple(str(value) for value in row["compatibility"]),
        sentences=tuple(split_sentences(row["description"])),
        praise=tuple(praise),
        names=row["title"],
    )


def read_any(rows: Sequence[Mapping[str, Any]]) -> list[Product]:
    """Products of an unknown shop: fields are found by their names, as the proxy finds them."""
    first = {key: value for row in rows[:200] for key, value in row.items() if value is not None}
    properties = {
        key: {"type": "text", "fields": {"keyword": {"type": "keyword"}}}
        for key, value in first.items()
        if isinstance(value, str)
    }
    found = find_fields({"properties": properties})
    if not found.text:
        raise DataError(
            "the products have no field that looks like a title: name one `title`, and where there "
            "are any `description`, `brand`, `type` and `attributes`"
        )
    brand = next((name for name in found.attributes if "brand" in name or "manufact" in name), None)
    kind = next((name for name in found.attributes if "type" in name or "categor" in name), None)
    products = []
    for place, row in enumerate(rows):
        attributes = read_attributes(
            {name: row.get(name) for name in found.attributes if name not in {brand, kind}}
            | (row["attributes"] if isinstance(row.get("attributes"), Mapping) else {})
        )
        title = clean_text(str(row.get(found.text[0]) or ""))
        told = str(row.get(kind) or "") if kind else ""
        products.append(
            Product(
                id=str(row.get("id", place)),
                title=title,
                text=document_text(row, found.text),
                brand=str(row[brand]) if brand and row.get(brand) else None,
                type=fold(re.split(r"[>|/]", told)[-1]) or None,
                certain=bool(told),
                attributes=attributes,
                sentences=tuple(split_sentences(str(row.get(found.text[-1]) or ""))),
                names=title,
            )
        )
    return [product for product in products if product.text]


def read_attributes(raw: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Attributes as shoppers write their values: `waterproof`, `15.6 inch`, `royal blue`."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in raw.items():
        values = value if isinstance(value, list | tuple) else [value]
        spelt = [spell_value(name, each) for each in values if each is not None]
        if kept := tuple(dict.fromkeys(text for text in spelt if text)):
            found[name] = kept
    return found


def spell_value(name: str, value: Any) -> str:
    """One value as a shopper would type it; "" for what nobody searches for (no, none)."""
    text = fold(str(int(value)) if isinstance(value, float) and value.is_integer() else str(value))
    if text in NO:
        return ""
    if text in YES:
        return fold(name.replace("_", " "))
    if re.fullmatch(r"[\d.]+", text):
        unit = SPELT_UNITS.get(name)
        return f"{text} {unit}" if unit else ""
    return text


def split_sentences(text: str) -> list[str]:
    """A description's sentences of 4 to 24 words, without bullets."""
    found = (BULLET.sub("", part).strip() for part in SENTENCE.findall(text))
    return [part for part in found if 4 <= len(part.split()) <= 24]


def fold(text: str) -> str:
    """Lower case, single spaces."""
    return " ".join(text.casefold().split())
