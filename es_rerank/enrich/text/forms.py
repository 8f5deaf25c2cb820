"""Forms: what kind of text is wanted of a product, how long, in which language, made by what.

A form is an entry of the recipe, `[[text]]`. Those in forms.toml come with es-rerank; an entry
that names one starts from it, any other name is a form of the shop's own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from es_rerank.config import Section

EXTRACTIVE = "extractive"
Unit = Literal["title", "segments", "sentences", "attributes", "values", "captions"]
Shape = Literal["line", "sentences", "list"]
SUMMARY = "summary"
PLACES = ("language", "max_chars", "max_items")
"""What is filled in where a prompt names it."""


class Form(Section):
    """One form, complete."""

    form: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,39}$",
        description="A form that comes with es-rerank, or a name of your own.",
    )
    name: str = Field(
        "",
        pattern=r"^([a-z][a-z0-9_]{0,39})?$",
        description="Name of the field; the form's, with the language behind it, if unset.",
    )
    shape: Shape = Field(
        "sentences", description="One line, sentences, or a list with a value for each item."
    )
    max_chars: int = Field(200, ge=10, le=5000, description="Length; of each item of a list.")
    max_items: int = Field(3, ge=1, le=50, description="Sentences, or items of a list, at most.")
    language: str | None = Field(
        None,
        pattern=r"^[A-Za-z][A-Za-z -]{1,30}$",
        description="Language to write in, as a code or in words; the data's own if unset.",
    )
    fields: tuple[str, ...] = Field(
        (), description="Text fields that are read, the title first; the recipe's if empty."
    )
    attribute_fields: tuple[str, ...] = Field(
        (), description="Attributes that are read; the recipe's if empty."
    )
    caption_fields: tuple[str, ...] = Field(
        (), description="Captions of images; found by well-known names if empty."
    )
    image_field: str | None = Field(
        None, description="Addresses of images, shown to a generator that can see."
    )
    units: tuple[Unit, ...] = Field(
        ("sentences", "attributes"), description="What the extractive backend chooses from."
    )
    prompt: str | None = Field(
        None,
        description="What a generator is told to write; {language}, {max_chars} and {max_items} "
        "are filled in.",
    )
    backend: str = Field(
        EXTRACTIVE, description="extractive, or the name of one of [generators.NAME]."
    )
    model: str | None = Field(
        None, description="Encoder of the extractive backend; the vectors' if unset."
    )

    @field_validator("prompt")
    @classmethod
    def _known_places(cls, value: str | None) -> str | None:
        try:
            (value or "").format(**dict.fromkeys(PLACES, ""))
        except (KeyError, IndexError, ValueError, AttributeError):
            raise ValueError(
                f"only {', '.join(f'{{{place}}}' for place in PLACES)} are filled in; write other "
                "braces twice"
            ) from None
        return value

    @model_validator(mode="after")
    def _can_be_written(self) -> Form:
        if self.backend != EXTRACTIVE and not self.prompt:
            raise ValueError(f"the form {self.form!r} needs a prompt: say what is to be written")
        if self.backend == EXTRACTIVE and self.language is not None:
            raise ValueError(
                "the extractive backend cannot translate: leave language out, or name a generator "
                "as the backend"
            )
        return self

    @property
    def key(self) -> str:
        """The name of its field."""
        language = "" if self.language is None else "_" + self.language.lower()
        return self.name or self.form + language.replace("-", "_").replace(" ", "_")

    @property
    def path(self) -> str:
        """Its field below `es_rerank`."""
        return SUMMARY if self.key == SUMMARY else f"text.{self.key}"

    @property
    def step(self) -> str:
        """The name of its step, under which its provenance stands."""
        return SUMMARY if self.key == SUMMARY else f"text-{self.key}"


@cache
def shipped_forms() -> Mapping[str, Mapping[str, Any]]:
    """The forms that come with es-rerank, by name."""
    return tomllib.loads(
        files("es_rerank.enrich.text").joinpath("forms.toml").read_text(encoding="utf-8")
    )


def complete_form(given: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the recipe with what it leaves out, from the shipped form of that name."""
    return {**shipped_forms().get(str(given.get("form")), {}), **given}
