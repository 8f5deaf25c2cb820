"""Build a step for each form of text that a recipe asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from es_rerank.enrich.review import Decisions
from es_rerank.enrich.safety import check
from es_rerank.enrich.safety.rules import load_rules
from es_rerank.enrich.safety.verdict import Safety
from es_rerank.enrich.steps.recipe import GeneratorRecipe, Recipe
from es_rerank.enrich.steps.step import Step, hash_recipe
from es_rerank.enrich.steps.vector import Encoder
from es_rerank.enrich.text import extractive, prompt
from es_rerank.enrich.text.enricher import TextEnricher
from es_rerank.enrich.text.extractive import Extractive
from es_rerank.enrich.text.forms import EXTRACTIVE, SUMMARY, Form
from es_rerank.enrich.text.material import CAPTIONS, Reading
from es_rerank.models.writer.prompt import Writer

EDITION = 2  # raised when the same text is laid out or read otherwise
# What changes no text: how an endpoint is reached, and what it may cost.
NO_MATTER = {
    *("concurrency", "timeout_s", "retries", "key_variable", "budget_tokens", "budget_money"),
    *("price_in", "price_out", "limit_key"),
}


def build_forms(
    recipe: Recipe,
    text_fields: Sequence[str],
    attribute_fields: Sequence[str],
    encoder: Callable[[str | None], Encoder],
    vectors: str | None,
    load_writer: Callable[[GeneratorRecipe], Writer],
    decisions: Decisions | None = None,
) -> list[Step]:
    """A step for each form. vectors: the encoder whose vectors are in the patch, if any.

    Each generator is made once, however many forms it writes.
    """
    writers: dict[str, Writer] = {}
    rules = load_rules(recipe.safety.claims, recipe.safety.words)
    safety = Safety(rules, recipe.safety.review)
    steps = []
    for form in recipe.forms:
        texts = form.fields or tuple(text_fields)
        attributes = form.attribute_fields or tuple(attribute_fields)
        captions = form.caption_fields or CAPTIONS
        if form.backend == EXTRACTIVE:  # reads nothing that it cannot choose
            attributes = attributes if {"attributes", "values"} & set(form.units) else ()
            captions = captions if "captions" in form.units else ()
        reading = Reading(texts, attributes, captions, form.image_field)
        told: dict[str, Any] = {"form": _told(form), "reads": reading.paths, "edition": EDITION}
        told |= {"safety": [check.EDITION, rules.digest, recipe.safety.review]}
        backend: Extractive | Writer
        if form.backend == EXTRACTIVE:
            own = encoder(form.model or vectors)
            same = vectors in {None, own.name} and texts == tuple(text_fields)
            backend = Extractive(own, texts, safety.may_copy, use_vector=same)
            told |= {"model": own.name, "backend": extractive.EDITION}
        else:
            generator = recipe.generators[form.backend]
            if form.backend not in writers:
                writers[form.backend] = load_writer(generator)
            backend = writers[form.backend]
            told |= {"generator": generator.model_dump(exclude=NO_MATTER)}
            told |= {"backend": [prompt.EDITION, prompt.RULES]}
        enricher = TextEnricher(form, reading, backend, safety, decisions)
        edition = hash_recipe(form.step, EDITION, told)
        steps.append(Step(enricher, edition, reading.hash_of, backend.name, _mapping(form)))
    return steps


def _told(form: Form) -> dict[str, Any]:
    """The form as far as its texts depend on it."""
    return form.model_dump(exclude={"form", "name", "backend", "model"})


def _mapping(form: Form) -> dict[str, Any]:
    """The form's field, where the index templates do not have it."""
    origin = {
        **{name: {"type": "keyword"} for name in ("outcome", "reasons", "review", "by")},
        "decided": {"type": "date"},
        "draft": {"type": "keyword", "index": False, "doc_values": False},
    }
    mapping = {"provenance": {"properties": {form.step: {"properties": origin}}}}
    if form.key == SUMMARY:
        return mapping
    return {**mapping, "text": {"properties": {form.key: {"type": "text"}}}}
