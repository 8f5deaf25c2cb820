"""Build the steps that a recipe names. Models are loaded when a document first needs them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from es_rerank.cluster.document import Document, read_values
from es_rerank.cluster.fields import IndexFields
from es_rerank.enrich.steps.recipe import GeneratorRecipe, GraphRecipe, Recipe
from es_rerank.enrich.steps.step import Step, hash_recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from es_rerank.enrich.review import Decisions
    from es_rerank.enrich.steps.recipe import SentimentRecipe
    from es_rerank.enrich.steps.vector import Encoder
    from es_rerank.models.sentiment.reader import SentimentReader
    from es_rerank.models.writer.prompt import Writer


class LazyEncoder:
    """An encoder that is loaded by its first use."""

    def __init__(self, name: str, load: Callable[[str], Encoder]) -> None:
        self.name = name
        self._load = load
        self._encoder: Encoder | None = None
        self._lock = threading.Lock()

    @property
    def dimensions(self) -> int:
        """The length of its vectors."""
        return self._loaded().dimensions

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed the texts, in order."""
        return self._loaded().encode(texts)

    def _loaded(self) -> Encoder:
        with self._lock:
            if self._encoder is None:
                self._encoder = self._load(self.name)
            return self._encoder


def build_graph(given: GraphRecipe, found: IndexFields) -> Step:
    """Build the step that surveys the catalogue."""
    from es_rerank.enrich.graph.facts import choose_fields
    from es_rerank.enrich.steps import graph

    fields = choose_fields(
        found, brand=given.brand_field, kind=given.type_field, group=given.group_field
    )
    events = Path(given.events) if given.events else None
    enricher = graph.GraphEnricher(fields, most=given.edges, events=events)
    options = {"fields": asdict(fields), **given.model_dump()}
    return Step(
        enricher,
        hash_recipe("graph", graph.EDITION, options),
        enricher.reads,
        survey=enricher.survey,
    )


def build_steps(
    recipe: Recipe,
    text_fields: Sequence[str],
    *,
    model: str,
    load_encoder: Callable[[str], Encoder],
    load_enricher: Callable[[str, Mapping[str, Any]], Any],
    attribute_fields: Sequence[str] = (),
    price_field: str | None = None,
    load_writer: Callable[[GeneratorRecipe], Writer] | None = None,
    decisions: Decisions | None = None,
    load_sentiment: Callable[[str], SentimentReader] | None = None,
) -> list[Step]:
    """Build the steps: vectors first, which extractive texts go by, plugins last.

    model: the encoder where the recipe names none. load_sentiment: loads a model that reads
    reviews, on the best device if unset. Raises ConfigError for a file of reviews that is not
    there, ModelError for a folder of a model that is not whole.
    """
    steps: list[Step] = []
    if recipe.is_copy:
        return steps
    encoders: dict[str, LazyEncoder] = {}

    def encoder(name: str | None) -> LazyEncoder:
        chosen = name or model
        return encoders.setdefault(chosen, LazyEncoder(chosen, load_encoder))

    def reads(document: Document) -> bytes:
        values = [list(read_values(document.source, path)) for path in text_fields]
        return repr(values).encode()

    if recipe.vector is not None:
        from es_rerank.enrich.steps import vector

        own = encoder(recipe.vector.model)
        options = {"fields": list(text_fields), "model": own.name}
        steps.append(
            Step(
                vector.VectorEnricher(own, text_fields),
                hash_recipe("vector", vector.EDITION, options),
                reads,
                own.name,
            )
        )
    if recipe.forms:
        from es_rerank.enrich.text.build import build_forms

        vectors = steps[0].model if recipe.vector is not None else None
        steps += build_forms(
            recipe,
            text_fields,
            attribute_fields,
            encoder,
            vectors,
            load_writer or _no_writer,
            decisions,
        )
    if recipe.graph is not None:
        found = IndexFields(
            tuple(text_fields), tuple(attribute_fields), price_field, None, None, None
        )
        steps.append(build_graph(recipe.graph, found))
    if recipe.sentiment is not None:
        steps.append(_build_sentiment(recipe.sentiment, load_sentiment))
    for name, given in recipe.plugins.items():
        before = [step.recipe for step in steps]  # a plugin may build on what they found
        enricher = load_enricher(name, given)
        edition = int(getattr(enricher, "edition", 1))
        told = {"options": dict(given), "after": before}
        steps.append(Step(enricher, hash_recipe(name, edition, told), lambda found: found.raw))
    return steps


def _no_writer(generator: GeneratorRecipe) -> Writer:
    raise LookupError(generator.model)


def _build_sentiment(wish: SentimentRecipe, load: Callable[[str], SentimentReader] | None) -> Step:
    from es_rerank.enrich.steps import sentiment
    from es_rerank.enrich.steps.aspects import choose_aspects
    from es_rerank.enrich.steps.reviews import ReviewFile, Shape, find_reviews, hash_reviews
    from es_rerank.models.sentiment.reader import identify_sentiment, load_sentiment

    chosen = load or load_sentiment
    aspects = choose_aspects(wish.aspects)
    shape = Shape(wish.field, wish.text_field, wish.rating_field)
    options: dict[str, Any] = {
        **wish.model_dump(mode="json", exclude={"reviews"}),
        "aspects": aspects,
        "model": identify_sentiment(wish.model),
    }
    load_file: Callable[[], ReviewFile] | None = None
    if (file := wish.reviews) is not None:
        # Whose reviews have changed is not known, so a changed file is another recipe.
        options["reviews"] = hash_reviews(file)

        def load_file() -> ReviewFile:
            return ReviewFile(file, wish.product_field, shape, wish.max_reviews)

    def reads(document: Document) -> bytes:
        found = find_reviews(document.source, shape, wish.max_reviews)
        told = [(review.text, review.stars) for review in found]
        ids = list(read_values(document.source, wish.id_field)) if wish.id_field else []
        return repr((told, ids)).encode("utf-8", "replace")

    return Step(
        sentiment.SentimentEnricher(lambda: chosen(wish.model), wish, aspects, load_file),
        hash_recipe("sentiment", sentiment.EDITION, options),
        reads,
        wish.model,
    )
