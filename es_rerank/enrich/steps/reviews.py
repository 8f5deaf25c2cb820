"""Where a product's reviews are: in its document, and in a file that names products."""

from __future__ import annotations

import gzip
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from es_rerank.cluster.document import read_values
from es_rerank.errors import ConfigError
from es_rerank.models.sentiment.text import clean_review

FIELDS = [
    "reviews",
    "customer_reviews",
    "product_reviews",
    "user_reviews",
    "review",
    "comments",
    "customer_comments",
    "ratings_and_reviews",
    "bewertungen",
    "avis",
    "opiniones",
    "recensioni",
    "评论",
    "评价",
    "商品评论",
    "用户评价",
]
TEXTS = [
    "text",
    "review_text",
    "review",
    "body",
    "comment",
    "content",
    "review_body",
    "message",
    "description",
    "内容",
    "评论",
    "评价",
    "评论内容",
]
TITLES = ("title", "headline", "summary", "review_title", "review_headline", "标题")
STARS = ("stars", "rating", "star_rating", "score", "overall", "评分", "星级")


@dataclass(frozen=True)
class Seen:
    """A review as it was found: its clean text, and its stars where it has any."""

    text: str
    stars: float | None


@dataclass(frozen=True)
class Shape:
    """Where the parts of a review are; "" for what well-known names find."""

    field: str = ""
    text: str = ""
    stars: str = ""


def find_reviews(source: Mapping[str, Any], shape: Shape, most: int) -> list[Seen]:
    """A document's reviews, at most so many; what is no text is left out, and no text twice."""
    fields = (shape.field,) if shape.field else FIELDS
    for field in fields:
        found: dict[str, Seen] = {}
        for item in walk(source, field):
            seen = read_review(item, shape)
            if seen is not None:
                found.setdefault(seen.text, seen)
            if len(found) == most:
                break
        if found:
            return list(found.values())
    return []


def walk(source: Any, path: str) -> Iterator[Any]:
    """Yield the objects and scalars at a dotted path, through arrays."""
    if isinstance(source, list):
        for item in source:
            yield from walk(item, path)
        return
    if not path:
        if source is not None:
            yield source
        return
    if not isinstance(source, Mapping):
        return
    cut = len(path)
    while cut > 0:
        if (key := path[:cut]) in source:
            yield from walk(source[key], path[cut + 1 :])
        cut = path.rfind(".", 0, cut)


def read_review(item: Any, shape: Shape) -> Seen | None:
    """A review out of a text, or an object with one; a title goes before its text."""
    if not isinstance(item, Mapping):
        text = clean_review(item)
        return Seen(text, None) if text else None
    texts = (shape.text,) if shape.text else TEXTS
    text = next((text for name in texts if (text := _first_text(item, name))), "")
    if not shape.text and text:
        title = next((title for name in TITLES if (title := _first_text(item, name))), "")
        if title and title != text and not text.startswith(title):
            text = f"{title}\n{text}"
    if not text:
        return None
    given = (shape.stars,) if shape.stars else STARS
    stars = next((stars for name in given if (stars := _read_stars(item, name)) is not None), None)
    return Seen(text, stars)


def _first_text(item: Mapping[str, Any], path: str) -> str:
    return next((text for value in read_values(item, path) if (text := clean_review(value))), "")


def _read_stars(item: Mapping[str, Any], path: str) -> float | None:
    for value in read_values(item, path):
        try:
            stars = float(value)
        except (TypeError, ValueError, OverflowError):
            continue
        if 0 <= stars <= 10:
            return stars
    return None


class ReviewFile:
    """Reviews in a JSONL file (also .gz) that names the product of each, read once.

    product: the reviews' field of the product. Raises ConfigError where it cannot be read, or no
    line names a product.
    """

    def __init__(self, file: Path, product: str, shape: Shape, most: int) -> None:
        self._reviews: dict[str, dict[str, Seen]] = defaultdict(dict)
        opened = gzip.open if file.suffix == ".gz" else open
        try:
            with opened(file, "rb") as lines:
                for line in lines:
                    self._add(line, product, shape, most)
        except (OSError, EOFError) as error:
            raise ConfigError(
                f"[sentiment] reviews: {file} cannot be read ({error}): name a JSONL file"
            ) from None
        if not self._reviews:
            raise ConfigError(
                f"[sentiment] reviews: no line of {file} has a text and the product in "
                f"{product!r}: name the field with product_field, and text_field where it is not "
                f"one of {', '.join(TEXTS[:5])}, …"
            )

    def _add(self, line: bytes, product: str, shape: Shape, most: int) -> None:
        try:
            row = msgspec.json.decode(line)
        except msgspec.DecodeError:
            return
        if not isinstance(row, dict):
            return
        key = next((str(value) for value in read_values(row, product)), None)
        seen = read_review(row, shape) if key is not None else None
        if key is not None and seen is not None and len(own := self._reviews[key]) < most:
            own.setdefault(seen.text, seen)

    def of(self, key: str) -> Sequence[Seen]:
        """A product's reviews."""
        return list(self._reviews.get(key, {}).values())


def hash_reviews(file: Path) -> str:
    """A hash of the file, by which a run knows that reviews have changed. Raises ConfigError."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
    except OSError as error:
        raise ConfigError(
            f"[sentiment] reviews: {file} cannot be read ({error.strerror}): name a JSONL file"
        ) from None
