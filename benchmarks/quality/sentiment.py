"""How well reviews are read, beside VADER (English) and SnowNLP (Chinese).

    python -m benchmarks.quality.sentiment [--model default] [--reviews FILE] [--json]

Three sets, in both languages: reviews written by hand for this, which no training has seen;
sentences of the sample shop whose templates training holds out; and the sample shop's reviews that
are made of such sentences alone, by their stars. --reviews adds one's own, as `train sentiment`
takes them. The rivals come with the extra `sentiment`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.form import Row, Spread, compare_row, parser, publish, run, say
from es_rerank.demo import sample
from es_rerank.demo.catalogue.vocabulary import read_vocabulary
from es_rerank.errors import ConfigError, DataError
from es_rerank.models.sentiment.head import BLAME, NEITHER, PRAISE
from es_rerank.models.sentiment.lexicon import Language
from es_rerank.models.sentiment.reader import LANGUAGES, load_sentiment
from es_rerank.models.sentiment.text import clean_review
from es_rerank.training.sentiment.recipe import Reviews
from es_rerank.training.sentiment.report import measure_reading
from es_rerank.training.sentiment.reviews import (
    Review,
    is_held_out,
    read_own,
    read_stars,
    read_templates,
    says_stars,
)

WRITTEN = Path(__file__).parent / "reviews"
FILES: dict[str, Language] = {"english": "en", "chinese": "zh"}
NAMES: dict[Language, str] = {"en": "English", "zh": "Chinese"}
RIVALS: dict[Language, str] = {"en": "VADER", "zh": "SnowNLP"}
MEASURES = {"binary": "praise and blame", "three": "with neither"}
MOST = 600  # of a set and language
DRAWS = 500
SEED = 23
Read = Callable[[Sequence[str]], NDArray[np.float64]]


@dataclass(frozen=True)
class Set:
    """Reviews of one language and origin."""

    name: str
    language: Language
    reviews: tuple[Review, ...]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser(__doc__ or "")
    options.add_argument("--model", default="default", help="`default`, a folder or a hub id")
    options.add_argument("--reviews", type=Path, action="append", default=[], help="one's own")
    chosen = options.parse_args(arguments)
    ours = load_sentiment(chosen.model, "cpu")
    rows: list[Row] = []
    for own in list_sets(chosen.reviews):
        say(f"{own.name}, {NAMES[own.language]}: {len(own.reviews)} reviews ...")
        rows += compare_set(own, ours.read, load_rival(own.language))
    publish(rows, chosen, "Sentiment of reviews, macro-F1")


def list_sets(files: Sequence[Path] = ()) -> list[Set]:
    """The sets, those written by hand first. files: reviews of one's own."""
    sets = [Set("written", language, tuple(read_measured(language))) for language in LANGUAGES]
    wish = Reviews()
    templates = [r for r in read_templates() if is_held_out(r.text, wish.held_out, wish.seed)]
    for language in LANGUAGES:
        own = tuple(review for review in templates if review.language == language)
        sets.append(Set("held-out sentences", language, own))
    shop = read_held_shop(wish)
    for language in LANGUAGES:
        own = tuple(review for review in shop if review.language == language)[:MOST]
        sets.append(Set("held-out reviews", language, own))
    for file in files:
        found = list(read_own(file))
        for language in LANGUAGES:
            if own := tuple(review for review in found if review.language == language):
                sets.append(Set(file.name, language, own))
    return sets


def read_measured(language: Language) -> list[Review]:
    """The reviews written to measure by, by their stars. Raises DataError."""
    (name,) = (name for name, its in FILES.items() if its == language)
    reviews = []
    for line in (WRITTEN / f"{name}.tsv").read_text(encoding="utf-8").splitlines():
        stars, _, text = line.partition("\t")
        given = read_stars(stars)
        if given is None or not text:
            raise DataError(f"{name}.tsv: {line!r} is not stars, a tab and a text")
        reviews.append(Review(clean_review(text), says_stars(given), language, "own"))
    return reviews


def read_held_shop(wish: Reviews) -> list[Review]:
    """The sample shop's reviews whose every sentence's template is held out of training.

    Openings and closings (“Love it.”) are no templates, and may stand beside them.
    """
    held = {r.text for r in read_templates() if is_held_out(r.text, wish.held_out, wish.seed)}
    known = list_templates()
    found = []
    for row in sample.load_reviews():
        if all(known[template] in held for template in row["template"]):
            language: Language = row["language"]
            found.append(Review(row["text"], says_stars(row["rating"]), language, "template"))
    return list({review.text: review for review in found}.values())


def list_templates() -> dict[str, str]:
    """Template's id, as the sample's reviews name it -> the sentence, as training reads it."""
    words = read_vocabulary()
    lines: dict[str, str] = {}
    for language in LANGUAGES:
        for name, aspect in words.reviews["aspects"].items():
            for side in ("good", "bad"):
                for number, line in enumerate(aspect.get(f"{side}_{language}", ())):
                    lines[f"{name}.{language}.{side}.{number}"] = line
        for key, kind in words.types.items():
            wording = kind.wording(language)
            for side, own in (("good", wording.praise), ("bad", wording.blame)):
                for number, line in enumerate(own):
                    lines[f"{key}.{language}.{side}.{number}"] = line.partition(": ")[2]
    english = {"label": "product", "brand": "the brand", "model": "it"}
    chinese = {"label": "东西", "brand": "这个牌子", "model": "这个"}
    return {
        name: line.format(**(chinese if ".zh." in name else english))
        for name, line in lines.items()
    }


def load_rival(language: Language) -> Read:
    """VADER or SnowNLP as a reader (n, 3). Raises ConfigError where it is not installed.

    VADER's neutral zone is its authors': a compound within 0.05 of 0. SnowNLP names none; the
    middle third of its scale is taken, which its sign does not depend on.
    """
    try:
        if language == "en":
            from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

            analyzer = SentimentIntensityAnalyzer()
            return lambda texts: spread_scores(
                [analyzer.polarity_scores(text)["compound"] for text in texts], 0.05
            )
        from snownlp import SnowNLP
    except ImportError as error:
        raise ConfigError(
            f"the rival {RIVALS[language]} is not installed ({error}): "
            "pip install 'es-rerank[sentiment]'"
        ) from None
    return lambda texts: spread_scores(
        [2 * SnowNLP(text).sentiments - 1 if text.strip() else 0.0 for text in texts], 1 / 3
    )


def spread_scores(scores: Sequence[float], zone: float) -> NDArray[np.float64]:
    """Scores from -1 to 1 as (n, 3), so that what is likeliest is neither within the zone."""
    found = np.zeros((len(scores), 3))
    for row, score in enumerate(scores):
        sure = 0.5 + abs(score) / 2
        side, other = (PRAISE, BLAME) if score > 0 else (BLAME, PRAISE)
        if abs(score) < zone:
            found[row, NEITHER] = 0.6
            found[row, side], found[row, other] = 0.2 + abs(score) / 10, 0.2 - abs(score) / 10
        else:
            found[row, side], found[row, other] = sure, 1 - sure
    return found


def compare_set(own: Set, ours: Read, theirs: Read) -> list[Row]:
    """A row for each measure, with the interval of the difference over bootstrapped reviews."""
    texts = [review.text for review in own.reviews]
    truth = [review.says for review in own.reviews]
    read = (ours(texts), theirs(texts))
    rows = []
    for measure, what in MEASURES.items():
        if measure == "three" and NEITHER not in truth:
            continue
        mine, other = (float(measure_reading(each, truth)[measure]) for each in read)
        rows.append(
            compare_row(
                f"{NAMES[own.language]}, {own.name} | {what}",
                ours=mine,
                rival=RIVALS[own.language],
                theirs=other,
                unit="macro-F1",
                better="higher",
                n=len(truth),
                spread=bootstrap(read, truth, measure),
                gate=own.name == "written" and measure == "binary",
            )
        )
    return rows


def bootstrap(
    read: tuple[NDArray[np.float64], NDArray[np.float64]], truth: Sequence[int], measure: str
) -> Spread:
    """The 95 % interval of ours, over reviews drawn with replacement."""
    chance = np.random.default_rng(SEED)
    says = np.asarray(truth)
    draws = [chance.integers(0, len(says), len(says)) for _ in range(DRAWS)]
    values = [float(measure_reading(read[0][rows], says[rows].tolist())[measure]) for rows in draws]
    low, high = np.quantile(values, [0.025, 0.975])
    return Spread(float(low), float(high), "95 % of ours, over reviews drawn with replacement")


if __name__ == "__main__":
    run(main)
