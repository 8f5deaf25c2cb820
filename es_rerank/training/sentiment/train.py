"""`es-rerank train sentiment` from end to end: reviews, heads, measures, the folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from es_rerank.errors import DataError
from es_rerank.models.sentiment.head import BLAME, PRAISE
from es_rerank.models.sentiment.lexicon import Language
from es_rerank.models.sentiment.manifest import SentimentManifest
from es_rerank.models.sentiment.reader import LANGUAGES, load_own
from es_rerank.training.dataset import Say
from es_rerank.training.sentiment.export import pack_deep, pack_heads, write_folder
from es_rerank.training.sentiment.recipe import SentimentTraining
from es_rerank.training.sentiment.report import Report, measure_reading
from es_rerank.training.sentiment.reviews import Review, load_reviews
from es_rerank.training.sentiment.words import calibrate, fit_head, rescale, score_reviews

RECIPE = "recipe.json"
ORIGINS = {"written": "written", "template": "sample shop's", "own": "own"}
NAMES = {"en": "English", "zh": "Chinese"}


@dataclass(frozen=True)
class Result:
    """What came out. figures: what was held out -> its report."""

    folder: Path
    manifest: SentimentManifest
    figures: dict[str, Report]


def train_sentiment(recipe: SentimentTraining, run: Path, out: Path, say: Say) -> Result:
    """Train by a recipe, or go on with a run that was stopped, and export to `out`.

    run: the folder of checkpoints and logs; another recipe or other reviews start anew. Raises
    EsRerankError.
    """
    split = load_reviews(recipe.reviews)
    for language in LANGUAGES:
        says = {review.says for review in split.train if review.language == language}
        if not {BLAME, PRAISE} <= says:
            raise DataError(
                f"there are no {NAMES[language]} reviews of both praise and blame to learn from: "
                "set [reviews] shipped = true, or name files with both"
            )
    say(f"{len(split.train)} texts to train on, {len(split.held)} held out")
    _begin(recipe, split.train, run)
    heads = {
        language: fit_head(
            split.train,
            language,
            recipe.words,
            recipe.schedule.seed,
            recipe.schedule.neutral_weight,
        )
        for language in LANGUAGES
    }
    held = {
        language: [review for review in split.held if review.language == language]
        for language in LANGUAGES
    }
    truth = {language: np.array([r.says for r in own], np.int64) for language, own in held.items()}
    by_words = {language: score_reviews(heads[language], held[language]) for language in LANGUAGES}
    between = recipe.reviews.between
    scales = {}
    for language in LANGUAGES:
        scales[language], cut = calibrate(by_words[language], truth[language], between)
        heads[language] = rescale(heads[language], scales[language], cut)
    parts = pack_heads(heads)
    adapter: dict[str, Any] | None = None
    steps = 0
    if recipe.deep.backbone:
        from es_rerank.models.network import load_encoder
        from es_rerank.training.adapt import take_adapter
        from es_rerank.training.sentiment.deep import score_deep, train_deep

        finished = train_deep(recipe, split.train, split.held, run, say)
        steps = finished.best_step or finished.step
        share = recipe.deep.words_share
        scores = score_deep(finished, [review.text for review in held["en"]])
        scale, cut = calibrate(scores + share * by_words["en"], truth["en"], between)
        parts |= pack_deep(finished.network, share / scales["en"], scale, cut)
        adapter = take_adapter(finished.network, "lora", load_encoder(recipe.deep.backbone))
    training = {"learnt": len(split.train), "held_out": len(split.held), "steps": steps}
    write_folder(out, parts, adapter, recipe, training, {})
    # Measured as it will serve: with the numbers that were written, by the reader that loads them.
    figures = measure_held(out, split.held)
    manifest = write_folder(out, parts, adapter, recipe, training, figures)
    return Result(out, manifest, figures)


def measure_held(folder: Path, held: Sequence[Review]) -> dict[str, Report]:
    """The reports of a folder's model, by language and where reviews are from."""
    reader = load_own(folder, folder.name, "cpu")
    figures = {}
    languages: tuple[Language, ...] = LANGUAGES
    for language in languages:
        for origin, name in ORIGINS.items():
            own = [r for r in held if (r.language, r.origin) == (language, origin)]
            if own:
                said = reader.read([review.text for review in own])
                truth = [review.says for review in own]
                figures[f"{NAMES[language]}, {name}"] = measure_reading(said, truth)
    return figures


def _begin(recipe: SentimentTraining, train: Sequence[Review], run: Path) -> None:
    """Leave what a run of another recipe or other reviews has left."""
    run.mkdir(parents=True, exist_ok=True)
    texts = repr([(review.text, review.says) for review in train])
    digest = hashlib.sha256(texts.encode("utf-8", "replace")).hexdigest()
    told = f"{recipe.model_dump_json(indent=1)}\n{digest}\n"
    if not (run / RECIPE).is_file() or (run / RECIPE).read_text() != told:
        for stale in run.glob("*.pt"):
            stale.unlink()
        (run / RECIPE).write_text(told)
