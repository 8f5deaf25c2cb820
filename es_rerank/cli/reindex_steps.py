"""The steps of a run of `reindex`, with the models that this machine loads for them."""

from __future__ import annotations

from typing import Any

from es_rerank.cluster.fields import IndexFields
from es_rerank.config import Settings
from es_rerank.enrich.review import ReviewLog
from es_rerank.enrich.steps.build import build_steps
from es_rerank.enrich.steps.recipe import GeneratorRecipe, Recipe
from es_rerank.enrich.steps.step import Step
from es_rerank.models.writer.prompt import Writer
from es_rerank.plugins import load_plugin


def load_steps(
    recipe: Recipe, fields: IndexFields, settings: Settings, reviews: ReviewLog
) -> list[Step]:
    """The recipe's steps, their models loaded only when a document needs them."""

    def load_encoder(name: str) -> Any:
        from es_rerank.models.embedder import load_embedder

        return load_embedder(name, device=settings.model.device)

    def load_writer(generator: GeneratorRecipe) -> Writer:
        return make_writer(generator, settings.model.device)

    def load_sentiment(name: str) -> Any:
        from es_rerank.models.sentiment.reader import load_sentiment

        return load_sentiment(name, device=settings.model.device)

    return build_steps(
        recipe,
        fields.text,
        attribute_fields=fields.attributes,
        price_field=fields.price,
        load_writer=load_writer,
        decisions=reviews.find,
        model=settings.model.embedder,
        load_encoder=load_encoder,
        load_enricher=lambda name, options: load_plugin("enricher", name, {name: options}),
        load_sentiment=load_sentiment,
    )


def make_writer(generator: GeneratorRecipe, device: str) -> Writer:
    """The model that writes; one on this machine is loaded by its first use."""
    if generator.kind == "local":
        from es_rerank.models.writer.local import LocalWriter

        return LocalWriter(
            generator.model,
            device=device,
            max_tokens=generator.max_tokens,
            beams=generator.beams,
            temperature=generator.temperature or 0.0,
        )
    from es_rerank.models.writer.endpoint import EndpointOptions, EndpointWriter

    shared = generator.model_dump(
        exclude={"kind", "url", "vision", "beams", "max_tokens"}, exclude_unset=True
    )
    return EndpointWriter(EndpointOptions(url=generator.url or "", sees=generator.vision, **shared))
