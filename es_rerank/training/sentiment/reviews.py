"""Reviews with what they say: hand-written ones, the sample shop's sentences, a shop's own."""

from __future__ import annotations

import gzip
import random
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from es_rerank.demo.catalogue.vocabulary import read_vocabulary
from es_rerank.errors import DataError
from es_rerank.models.sentiment.head import BLAME, NEITHER, PRAISE
from es_rerank.models.sentiment.lexicon import Language, find_language
from es_rerank.models.sentiment.text import clean_review
from es_rerank.training.sentiment.recipe import Reviews

TABLES = Path(__file__).parent / "tables"
SIGNS = {"-": BLAME, "=": NEITHER, "+": PRAISE}
STARS = ("stars", "rating", "star_rating", "overall", "score")
TEXTS = ("text", "review_text", "review", "body", "comment", "content", "reviewText")
MIN_OWN = 20
Origin = Literal["written", "template", "own"]


@dataclass(frozen=True)
class Review:
    """A text and what it says: BLAME, NEITHER or PRAISE."""

    text: str
    says: int
    language: Language
    origin: Origin


@dataclass(frozen=True)
class Split:
    """What is learned from, and what is kept for the report."""

    train: tuple[Review, ...]
    held: tuple[Review, ...]


def load_reviews(wish: Reviews) -> Split:
    """Read what the recipe names and split it, by a hash of each text.

    Raises DataError where a file cannot be read, or has too few reviews with stars.
    """
    found: list[Review] = []
    if wish.shipped:
        found += [*read_written(), *read_templates()]
    for file in wish.files:
        found += choose_own(list(read_own(Path(file))), wish.limit, wish.seed, file)
    unique = {review.text: review for review in found}
    train: list[Review] = []
    held: list[Review] = []
    for review in unique.values():
        is_held = is_held_out(review.text, wish.held_out, wish.seed)
        if is_held:
            held.append(review)
        else:
            train += [review] * (wish.repeat if review.origin == "own" else 1)
    return Split(tuple(train), tuple(held))


def is_held_out(text: str, share: float, seed: int) -> bool:
    """Whether a text, or template, is kept apart; the same in every process and version."""
    return zlib.crc32(f"{seed}/{text}".encode("utf-8", "ignore")) % 10_000 < share * 10_000


def read_written() -> Iterator[Review]:
    """The reviews written for training, of both languages."""
    languages: dict[str, Language] = {"english": "en", "chinese": "zh"}
    for name, language in languages.items():
        for file in sorted(TABLES.glob(f"{name}*.txt")):
            for line in file.read_text(encoding="utf-8").splitlines():
                if line[:1] in SIGNS:
                    yield Review(line[2:].strip(), SIGNS[line[0]], language, "written")


def read_templates() -> Iterator[Review]:
    """The sentences that the sample shop's reviews are made of, each with its sign."""
    words = read_vocabulary()
    reviews = words.reviews
    languages: tuple[Language, ...] = ("en", "zh")
    for language in languages:
        chinese = language == "zh"
        names = {
            "label": "东西" if chinese else "product",
            "brand": "这个牌子" if chinese else "the brand",
            "model": "这个" if chinese else "it",
        }
        lines: list[tuple[str, int]] = []
        for aspect in reviews["aspects"].values():
            for side, says in (("good", PRAISE), ("bad", BLAME)):
                lines += [(line, says) for line in aspect.get(f"{side}_{language}", ())]
        for kind in words.types.values():
            wording = kind.wording(language)
            if language == "zh" and kind.zh is None:
                continue
            for own, says in ((wording.praise, PRAISE), (wording.blame, BLAME)):
                lines += [(line.partition(": ")[2], says) for line in own]
        for line, says in lines:
            yield Review(line.format(**names), says, language, "template")


def read_own(file: Path) -> Iterator[Review]:
    """A shop's reviews, JSON objects a line (also .gz): a text, and 1 to 5 stars as weak label.

    Lines without either, or that are no JSON, are left out. Raises DataError.
    """
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rb") as lines:
            for line in lines:
                try:
                    row = msgspec.json.decode(line)
                except msgspec.DecodeError:
                    continue
                if isinstance(row, dict) and (review := _read_row(row)) is not None:
                    yield review
    except (OSError, EOFError) as error:
        raise DataError(f"the reviews {file} cannot be read ({error}): name a JSONL file") from None


def _read_row(row: Mapping[str, Any]) -> Review | None:
    text = next((clean_review(row[name]) for name in TEXTS if name in row), "")
    stars = read_stars(next((row[name] for name in STARS if name in row), None))
    if not text or stars is None:
        return None
    given = row.get("language")
    language: Language = "zh" if given in {"zh", "cn", "zh-cn", "zh-CN"} else find_language(text)
    return Review(text, says_stars(stars), language, "own")


def read_stars(value: Any) -> float | None:
    """A number from 1 to 5, None where there is none."""
    try:
        stars = float(value)
    except (TypeError, ValueError):
        return None
    return stars if 1 <= stars <= 5 else None


def says_stars(stars: float) -> int:
    """1 and 2 stars blame, 4 and 5 praise."""
    return BLAME if stars < 2.5 else PRAISE if stars > 3.5 else NEITHER


def choose_own(reviews: Sequence[Review], limit: int, seed: int, file: str) -> list[Review]:
    """At most so many, by chance, with blame and praise in like numbers: stars are mostly fives.

    Raises DataError where there are too few, or all say the same.
    """
    chance = random.Random(seed)
    classes: dict[int, list[Review]] = defaultdict(list)
    for review in chance.sample(list(reviews), len(reviews)):
        classes[review.says].append(review)
    least = min(len(classes[BLAME]), len(classes[PRAISE]))
    if len(reviews) < MIN_OWN or not least:
        raise DataError(
            f"{file} has {len(reviews)} reviews with a text and 1 to 5 stars, {least} of the rarer "
            f"of praise and blame: at least {MIN_OWN} are needed, with both. Fields looked for: "
            f"{', '.join(TEXTS[:3])}, … and {', '.join(STARS[:3])}, …"
        )
    most = min(limit // 3, 3 * least)
    return [review for own in classes.values() for review in own[:most]]
