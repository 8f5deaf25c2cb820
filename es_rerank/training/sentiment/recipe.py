"""The recipe of a sentiment model: reviews, heads, schedule."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import Field, ValidationError

from es_rerank.config import Section
from es_rerank.config.reading import describe
from es_rerank.errors import ConfigError


class Reviews(Section):
    """What is learned from."""

    files: tuple[str, ...] = Field(
        (), description="JSONL files of a shop's own reviews: text, stars or rating, language."
    )
    shipped: bool = Field(True, description="Learn from the reviews that come with es-rerank too.")
    repeat: int = Field(1, ge=1, le=100, description="How often each own review comes.")
    limit: int = Field(20_000, ge=1, description="Own reviews taken at most, alike of each class.")
    held_out: float = Field(
        0.12, gt=0, lt=0.9, description="Share kept for the report: of templates, whole ones."
    )
    between: float = Field(
        0.2,
        ge=0,
        lt=0.9,
        description="Share of held-out praise and blame, the least sure, that is read as neither.",
    )
    seed: int = Field(1, description="What is held out.")


class WordHeads(Section):
    """The heads on words of opinion and grams, one a language."""

    composed: int = Field(1500, ge=0, description="Longer reviews composed of short ones.")
    words_decay: float = Field(
        1e-3, ge=0, description="How much the weights of words of opinion are drawn to their prior."
    )
    grams_decay: float = Field(3e-5, ge=0, description="L2 on the weights of grams.")


class Deep(Section):
    """The backbone that reads English."""

    backbone: str = Field(
        "all-MiniLM-L6-v2",
        description='Hub id or folder of a BERT-like encoder; "" reads English by words alone.',
    )
    rank: int = Field(8, ge=1, description="Rank of LoRA.")
    layers: int = Field(4, ge=1, description="Last layers that are adapted.")
    words_share: float = Field(
        1.0, ge=0, description="What the head on words counts in English beside the backbone's."
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="On the encoder's mean, and in LoRA.")
    max_tokens: int = Field(72, ge=16, le=512, description="Tokens of a review in training.")
    served_tokens: int = Field(160, ge=16, le=512, description="The same when it serves.")


class Schedule(Section):
    """How the deep head and its adapter are optimised."""

    seed: int = Field(1, description="The order, what is composed, dropout.")
    steps: int = Field(220, ge=1)
    batch: int = Field(24, ge=2)
    composed: float = Field(0.3, ge=0, le=1, description="Share of composed reviews in a batch.")
    templates: float = Field(0.2, ge=0, le=1, description="Share of the sample's sentences.")
    learning_rate: float = Field(8e-4, gt=0)
    head_rate: float = Field(5e-3, gt=0, description="Learning rate of the head.")
    weight_decay: float = Field(0.01, ge=0)
    neutral_weight: float = Field(0.5, ge=0, description="What `neither` weighs beside the rest.")
    warmup: float = Field(0.06, ge=0, lt=1, description="Share of the steps.")
    evaluate_every: int = Field(20, ge=1)
    checkpoint_every: int = Field(20, ge=1)
    threads: int = Field(1, ge=1)


class SentimentTraining(Section):
    """Everything that decides what comes out."""

    reviews: Reviews = Field(default_factory=Reviews)
    words: WordHeads = Field(default_factory=WordHeads)
    deep: Deep = Field(default_factory=Deep)
    schedule: Schedule = Field(default_factory=Schedule)


def read_recipe(path: Path | None) -> SentimentTraining:
    """Read a recipe; None is that of the default model. Raises ConfigError."""
    if path is None:
        return SentimentTraining()
    try:
        return SentimentTraining.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"the recipe {path} cannot be read: {error}") from error
    except ValidationError as error:
        told = describe(error, {}, SentimentTraining, "recipe key")
        raise ConfigError(f"the recipe {path}: {told}") from error
