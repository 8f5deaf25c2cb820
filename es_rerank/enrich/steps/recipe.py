"""The recipe: which enrichers a run applies and how, from a TOML file or from the flags.

A table turns its step on: `[vector]` alone gives vectors, a recipe without any copies the documents
as they are. Without a recipe, vectors and summaries are made.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from es_rerank.config import Section
from es_rerank.config.reading import describe
from es_rerank.enrich.text.forms import EXTRACTIVE, SUMMARY, Form, complete_form
from es_rerank.errors import ConfigError


class VectorRecipe(Section):
    model: str | None = Field(
        None, description="Hub id or folder of the sentence encoder; model.embedder if unset."
    )


class SummaryRecipe(Section):
    model: str | None = Field(
        None, description="Encoder that sentences are compared by; the vectors' if unset."
    )


class GeneratorRecipe(Section):
    """A model that writes."""

    kind: Literal["local", "endpoint"] = Field(
        description="A model on this machine, or one behind an OpenAI-compatible endpoint."
    )
    model: str = Field(description="Hub id or folder, or the name that the endpoint knows it by.")
    temperature: float | None = Field(
        0.0, ge=0, le=2, description="Above 0 texts are drawn by lot, from a fixed seed if local."
    )
    beams: int = Field(1, ge=1, le=16, description="Beams of a local model's search.")
    max_tokens: int | None = Field(
        None, ge=1, description="Tokens that a local model writes at most; by the form if unset."
    )
    url: str | None = Field(
        None, description="The endpoint, up to /v1: http://localhost:8000/v1 for vLLM."
    )
    key_variable: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Environment variable that holds the endpoint's API key.",
    )
    concurrency: int = Field(8, ge=1, le=256, description="Requests under way at once.")
    timeout_s: float = Field(60.0, gt=0, description="Seconds that one answer may take.")
    retries: int = Field(
        5, ge=0, le=20, description="Further tries on 429, 5xx and broken connections."
    )
    vision: bool = Field(False, description="Whether it can be shown images.")
    budget_tokens: int | None = Field(
        None, ge=0, description="Tokens that a run may use, prompts included; any if unset."
    )
    budget_money: float | None = Field(
        None, ge=0, description="Money that a run may cost, by the prices below; any if unset."
    )
    price_in: float = Field(0.0, ge=0, description="Price of a million tokens of prompts.")
    price_out: float = Field(0.0, ge=0, description="Price of a million tokens of answers.")
    limit_key: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="How the endpoint calls the length of an answer."
    )
    extra: dict[str, Any] = Field(
        default_factory=dict, description="Further keys of each request to the endpoint."
    )

    @model_validator(mode="after")
    def _complete(self) -> GeneratorRecipe:
        if self.kind == "endpoint" and not self.url:
            raise ValueError("an endpoint needs its address: set url")
        if self.budget_money is not None and not self.price_in + self.price_out:
            raise ValueError("budget_money needs prices: set price_in and price_out")
        return self


class GraphRecipe(Section):
    type_field: str | None = Field(
        None, description="Field of the product's type; found by its name if unset."
    )
    brand_field: str | None = Field(None, description="Field of the brand; found if unset.")
    group_field: str | None = Field(
        None,
        description="Field whose value variants of one model share (`item_group_id`, `family`); "
        "found if unset.",
    )
    events: str | None = Field(
        None, description="File of UBI events (JSON lines), for what is bought together."
    )
    edges: int = Field(
        8, ge=1, le=100, description="Edges of a product for each kind of edge, at most."
    )


class SafetyRecipe(Section):
    """What texts are held to, and who decides."""

    review: Literal["flagged", "all", "none"] = Field(
        "flagged",
        description="Which texts wait for a person before they are shown: flagged ones, all, or "
        "none.",
    )
    claims: Path | None = Field(
        None, description="TOML file of forbidden claims; the one that comes along if unset."
    )
    words: Path | None = Field(
        None, description="Folder of word lists; those that come along if unset."
    )


class SentimentRecipe(Section):
    model: str = Field(
        "default",
        description="`default`, a folder that `train sentiment` wrote, or hub id or folder of a "
        "text classifier.",
    )
    field: str = Field(
        "", description="Field of a product's reviews, texts or objects; found by name if unset."
    )
    text_field: str = Field("", description="A review's text within it; found by name if unset.")
    rating_field: str = Field("", description="Its stars; found by name if unset.")
    reviews: Path | None = Field(
        None, description="JSONL file (also .gz) of reviews that lie apart from the products."
    )
    product_field: str = Field("product_id", description="In that file, a review's product.")
    id_field: str = Field("", description="The documents' field that it names; the _id if unset.")
    max_reviews: int = Field(500, ge=1, description="Reviews of a product read at most.")
    prior: float = Field(5.0, ge=0, description="Reviews that the mean is shrunk by.")
    prior_mean: float = Field(0.0, ge=-1, le=1, description="Their polarity.")
    aspects: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Words of aspects besides the default ones; an empty list takes one out.",
    )


class Recipe(Section):
    """What a run takes of the source, and what it adds."""

    text_fields: tuple[str, ...] = Field(
        (), description="Fields that are read, the title first; found from the mapping if empty."
    )
    attribute_fields: tuple[str, ...] = Field(
        (), description="Fields that make products alike; found from the mapping if empty."
    )
    price_field: str | None = Field(None, description="Field of the price; found if unset.")
    query: dict[str, Any] | None = Field(
        None, description="Query, as the engine takes it, of the documents to take; all if unset."
    )
    fields: tuple[str, ...] | None = Field(
        None, description="Parts of each document to take, as paths or patterns; all if unset."
    )
    vector: VectorRecipe | None = Field(None, description="Embed the text fields.")
    summary: SummaryRecipe | None = Field(
        None, description="Pick one or two sentences of the text fields."
    )
    text: tuple[Form, ...] = Field(
        (), description="Forms of text to write, `[[text]]` each; see docs/reindex.md."
    )
    safety: SafetyRecipe = Field(
        default_factory=SafetyRecipe, description="What texts are held to."
    )
    generators: dict[str, GeneratorRecipe] = Field(
        default_factory=dict, description="Models that write, by the name that forms use."
    )
    graph: GraphRecipe | None = Field(
        None, description="Find variants, substitutes, accessories, and what goes with a product."
    )
    sentiment: SentimentRecipe | None = Field(None, description="Read the products' reviews.")
    plugins: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Enricher plugins by name, in order, with their options."
    )

    @model_validator(mode="before")
    @classmethod
    def _complete_forms(cls, values: Any) -> Any:
        forms = values.get("text") if isinstance(values, dict) else None
        if not isinstance(forms, list | tuple):
            return values
        completed = [complete_form(f) if isinstance(f, dict) else f for f in forms]
        return {**values, "text": completed}

    @model_validator(mode="after")
    def _check_forms(self) -> Recipe:
        steps = [form.step for form in self.forms]
        twice = next((step for step in steps if steps.count(step) > 1), None)
        if twice is not None:
            raise ValueError(f"two forms are written to {twice!r}: give one another name")
        for form in self.text:
            known = [EXTRACTIVE, *self.generators]
            if form.backend not in known:
                near = difflib.get_close_matches(form.backend, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(
                    f"the form {form.key!r} names the backend {form.backend!r}, and there is no "
                    f"[generators.{form.backend}]{hint}"
                )
        return self

    @property
    def forms(self) -> tuple[Form, ...]:
        """The forms of text that are written; `[summary]` is one of them."""
        if self.summary is None:
            return self.text
        own = complete_form({"form": SUMMARY, "model": self.summary.model})
        return (Form.model_validate(own), *self.text)

    @property
    def generates(self) -> bool:
        """Whether a model writes."""
        return any(form.backend != EXTRACTIVE for form in self.text)

    @property
    def is_copy(self) -> bool:
        """Whether documents are only copied."""
        steps = (self.vector, self.forms or None, self.graph, self.sentiment)
        return all(step is None for step in steps) and not self.plugins


def default_recipe() -> Recipe:
    """What is done where no recipe is given."""
    return Recipe(vector=VectorRecipe(), summary=SummaryRecipe())


def read_recipe(file: Path) -> Recipe:
    """Read a recipe. Raises ConfigError that names each wrong key and the nearest right one."""
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no recipe {file}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} cannot be read as TOML: {error}") from None
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{file}: {describe(error, {}, Recipe, 'recipe key')}") from None


def with_flags(
    recipe: Recipe,
    *,
    text_fields: Sequence[str] = (),
    attribute_fields: Sequence[str] = (),
    price_field: str | None = None,
    query: dict[str, Any] | None = None,
    fields: Sequence[str] = (),
    enrichers: Sequence[str] = (),
    options: dict[str, dict[str, Any]] | None = None,
) -> Recipe:
    """The recipe with what flags and settings say: a flag goes before it, a setting fills gaps.

    enrichers: plugins besides those of the recipe. options: plugins' options by name.
    """
    known = options or {}
    plugins = {name: known.get(name, {}) for name in enrichers}
    given: dict[str, Any] = {
        "text_fields": tuple(text_fields) or recipe.text_fields,
        "attribute_fields": tuple(attribute_fields) or recipe.attribute_fields,
        "price_field": price_field or recipe.price_field,
        "query": query or recipe.query,
        "fields": tuple(fields) or recipe.fields,
        "plugins": {**plugins, **recipe.plugins},
    }
    return recipe.model_copy(update=given)
