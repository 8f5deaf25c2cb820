"""The recipe: which enrichers a run applies and how, from a TOML file or from the flags.

A table turns its step on: `[vector]` alone gives vectors, a recipe without any copies the documents
as they are. Without a recipe, vectors and summaries are made.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from es_rerank.config import Section
from es_rerank.config.reading import describe
from es_rerank.errors import ConfigError


class VectorRecipe(Section):
    model: str | None = Field(
        None, description="Hub id or folder of the sentence encoder; model.embedder if unset."
    )


class SummaryRecipe(Section):
    model: str | None = Field(
        None, description="Encoder that sentences are compared by; the vectors' if unset."
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
    plugins: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Enricher plugins by name, in order, with their options."
    )

    @property
    def is_copy(self) -> bool:
        """Whether documents are only copied."""
        return self.vector is None and self.summary is None and not self.plugins


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
