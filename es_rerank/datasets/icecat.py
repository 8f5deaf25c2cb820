"""Icecat's product catalogue and the Chorus ratings of 67 queries over it.

A folder holds `icecat_products.jsonl.gz` (or `.jsonl`), one product a line, and
`chorus_ratings_dev.csv` with the columns query, docid, rating (0 to 3). Ratings are for measuring
only: nothing may be trained or tuned on them.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from es_rerank.errors import DataError

PRODUCTS = "icecat_products.jsonl"
RATINGS = "chorus_ratings_dev.csv"
SOURCE = (
    "It comes from github.com/querqy/chorus: the products from its vectors data (Icecat, under the "
    "Open Content License of icecat.com), the ratings from its Broad_Query_Set_rated."
)
MAX_RATING = 3
REQUIRED = ("id", "title", "brand")

QUERY_FIELDS = ("title^3", "name^1", "brand^2", "attributes_text^0.5", "description^1")
TEXT_FIELDS = ("title", "name", "brand", "description", "attributes_text")


def load_products(data_dir: Path) -> Iterator[dict[str, Any]]:
    """Yield the products as the file has them; raises DataError naming the file, line and mend."""
    path = data_dir / f"{PRODUCTS}.gz"
    if not path.exists():
        path = data_dir / PRODUCTS
    if not path.exists():
        raise _absent(data_dir, f"{PRODUCTS}.gz or {PRODUCTS}")
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _product(line, path, number)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): get it again. {SOURCE}") from error


def load_ratings(data_dir: Path) -> dict[str, dict[str, int]]:
    """The ratings: query -> document id -> 0 to 3. Raises DataError."""
    path = data_dir / RATINGS
    if not path.exists():
        raise _absent(data_dir, RATINGS)
    qrels: dict[str, dict[str, int]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                query, document, rating = _rating(row, path, number)
                if qrels.setdefault(query, {}).setdefault(document, rating) != rating:
                    raise DataError(
                        f"Line {number} of {path} rates document {document} of query {query!r} a "
                        "second time and differently: keep one of them."
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}): get it again. {SOURCE}") from error
    return qrels


def document(product: Mapping[str, Any]) -> dict[str, Any]:
    """The product as it is indexed: its attributes, of 5,354 names, become one text field."""
    indexed = {key: value for key, value in product.items() if key not in ("id", "attributes")}
    indexed["attributes_text"] = attributes_text(product.get("attributes") or {})
    return indexed


def attributes_text(attributes: Mapping[str, Any]) -> str:
    """Attributes as text: `product colour: Silver; display diagonal: 17`."""
    return "; ".join(f"{key.replace('_', ' ')}: {_value(v)}" for key, v in attributes.items())


def subtopics(product: Mapping[str, Any]) -> list[str]:
    """What a product covers in alpha_nDCG: its brand and its type."""
    pairs = (("brand", product.get("brand")), ("type", product.get("derived_type")))
    return [f"{kind}:{value}" for kind, value in pairs if value]


def embedding_text(product: Mapping[str, Any]) -> str:
    """The text whose vector ILD compares: `title. description`."""
    return ". ".join(str(product[key]) for key in ("title", "description") if product.get(key))


def mapping(analyzer: str = "english") -> dict[str, Any]:
    """The mapping of `document`; nothing in it is of one engine alone, but for the analyzer.

    An Elasticsearch without its module analysis-common knows `standard`, not `english`.
    """
    text = {"type": "text", "analyzer": analyzer}
    keyword = {"type": "keyword", "ignore_above": 1024}
    properties: dict[str, Any] = {field: dict(text) for field in TEXT_FIELDS}
    properties["brand"] = {**text, "fields": {"keyword": keyword}}
    properties["price_usd"] = {"type": "float"}
    properties["date_released"] = {"type": "date", "ignore_malformed": True}
    properties["image"] = {**keyword, "index": False, "doc_values": False}
    for field in ("ean", "derived_type", "derived_type_source"):
        properties[field] = dict(keyword)
    return {"dynamic": False, "properties": properties}


def baseline_query(text: str) -> dict[str, Any]:
    """The engine's own ranking that others are compared with: BM25, most_fields."""
    return {"multi_match": {"query": text, "type": "most_fields", "fields": list(QUERY_FIELDS)}}


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _product(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        product = json.loads(line)
    except ValueError as error:
        raise DataError(f"Line {number} of {path} is not JSON: {error}.") from error
    if not isinstance(product, dict):
        raise DataError(f"Line {number} of {path} is not a JSON object.")
    for key in REQUIRED:
        if not isinstance(product.get(key), str):
            raise DataError(f"Line {number} of {path} has no text under {key!r}.")
    if not isinstance(product.get("attributes") or {}, dict):
        raise DataError(f"Line {number} of {path} has no object under 'attributes'.")
    return product


def _rating(row: Mapping[str, str | None], path: Path, number: int) -> tuple[str, str, int]:
    query, document_id, text = row.get("query"), row.get("docid"), row.get("rating")
    if not (query and document_id and text):
        raise DataError(f"Line {number} of {path} lacks one of the columns query, docid, rating.")
    try:
        rating = int(text)
    except ValueError:
        rating = -1
    if not 0 <= rating <= MAX_RATING:
        raise DataError(
            f"Line {number} of {path} has the rating {text!r}, not one of 0 to {MAX_RATING}."
        )
    return query, document_id, rating


def _value(value: Any) -> str:
    """A number without a needless `.0`, as a shopper would type it; other values as in JSON."""
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _absent(data_dir: Path, what: str) -> DataError:
    where = f"{data_dir} holds no" if data_dir.is_dir() else f"{data_dir} is no folder; need"
    return DataError(f"{where} {what}. {SOURCE} Name its folder with --data-dir.")
