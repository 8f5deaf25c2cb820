"""The request's own block, `ext.es_rerank`: checked, and joined with the operator's limits."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from es_rerank.config import Expansion, IndexSettings, RerankSettings, read_expansions
from es_rerank.errors import RequestError
from es_rerank.ranking.blend import Weights
from es_rerank.ranking.crowding import Cap, Mode
from es_rerank.ranking.diversity.kernel import KernelWeights
from es_rerank.ranking.pipeline import RankingOptions

Method = Literal["dpp", "mmr", "cap"]
Value = TypeVar("Value")
Checked = TypeVar("Checked", bound="Block")


class Block(BaseModel):
    """A table of the request; strict types, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class WeightsBlock(Block):
    relevance: float = Field(0.5, ge=0, description="Weight of the model's score.")
    first_stage: float = Field(0.5, ge=0, description="Weight of the engine's score.")


class KernelBlock(Block):
    vector: float = Field(0.5, ge=0, description="Share of embedding cosine.")
    attributes: float = Field(0.5, ge=0, description="Share of attribute agreement.")
    facets: float = Field(
        0.5,
        ge=0,
        description="Share of the vectors that depend on the query, if the model has any.",
    )


class CapBlock(Block):
    field: str = Field(description="Attribute field.")
    max_count: int = Field(ge=1, description="Hits with one value at most.")
    per: int = Field(10, ge=1, description="Among so many consecutive hits.")
    mode: Mode = Field(
        "demote", description="Crowded hits move down; with drop, the last are left out."
    )


class TuningBlock(Block):
    """What a request and a named pipeline may set alike. Nothing names a model, host or file."""

    enabled: bool | None = Field(None, description="false passes the search through.")
    fields: list[str] | None = Field(
        None, min_length=1, max_length=10, description="Text fields for the model to read."
    )
    rank_window_size: int | None = Field(
        None, ge=1, description="How many hits are ranked. The same for every page of a list."
    )
    weights: WeightsBlock | None = Field(None, description="Weights of the signals.")
    min_score: float | None = Field(
        None, ge=0, le=1, description="Hits blended below this go to the window's end."
    )
    diversity: float | None = Field(
        None, ge=0, le=1, description="0 is pure relevance, 1 pure variety."
    )
    diversify: Method | None = Field(None, description="By which method: dpp, mmr or cap.")
    adaptive: bool | None = Field(
        None, description="Whether diversity follows how much the search leaves open."
    )
    similarity: KernelBlock | None = Field(
        None, description="Shares of vector, attributes and facets in what counts as alike."
    )
    crowding: list[CapBlock] = Field(
        default_factory=list, max_length=5, description="Caps per attribute value."
    )
    timeout_ms: int | None = Field(
        None, ge=1, description="Milliseconds for ranking; then the engine's order goes back."
    )
    expand: Annotated[list[Expansion], BeforeValidator(read_expansions)] | None = Field(
        None, max_length=10, description="What adds candidates: `none`, or knn, spelling, synonyms."
    )


class RequestBlock(TuningBlock):
    """`ext.es_rerank`: what a request may ask for."""

    pipeline: str | None = Field(
        None, max_length=128, description="A named pipeline; `_none` for none."
    )
    query_text: str | None = Field(
        None, max_length=2000, description="The shopper's words; found in the query otherwise."
    )
    explain: bool = Field(False, description="Say in `_explanation` why each hit stands there.")


class PipelineBlock(TuningBlock):
    """The body of a named pipeline."""

    description: str | None = Field(None, max_length=2000, description="What it is for.")
    version: int | None = Field(
        None, ge=1, le=2**53, description="Its version; each change needs a higher one."
    )


@dataclass(frozen=True)
class SearchOptions:
    """What holds for one search."""

    enabled: bool
    window: int
    timeout_s: float
    ranking: RankingOptions
    query_text: str | None = None
    text_fields: tuple[str, ...] = ()
    attribute_fields: tuple[str, ...] = ()
    price_field: str | None = None
    explain: bool = False
    expand: tuple[Expansion, ...] = ()
    vector_queries: bool = False
    spelling_below: int = 3
    clamped: tuple[str, ...] = ()


def read_block(value: Any) -> RequestBlock:
    """Check the value of `ext.es_rerank`.

    Raises RequestError that names the key, what is wrong with it, and the nearest valid one.
    """
    return check(RequestBlock, value, "es_rerank")


def read_pipeline(value: Any) -> PipelineBlock:
    """Check the body of a named pipeline. Raises RequestError as read_block does."""
    return check(PipelineBlock, value, "pipeline")


def check(model: type[Checked], value: Any, place: str) -> Checked:
    """Check a value against a block; `place` begins each message."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = (describe(problem, model, place) for problem in error.errors())
        raise RequestError("; ".join(problems)) from None


def describe(problem: Any, model: type[Block] = RequestBlock, place: str = "es_rerank") -> str:
    """One problem in words."""
    path = [str(part) for part in problem["loc"]]
    dotted = ".".join(path)
    if problem["type"] == "model_type":
        return f"[{place}] {f'[{dotted}] ' if path else ''}must be an object"
    if problem["type"] != "extra_forbidden":
        return f"[{place}] {f'[{dotted}] ' if path else ''}{problem['msg']}"
    if path[-1] in {"lambda", "lambda_mult"}:
        return (
            f"[{place}] unknown key [{dotted}]: use [diversity], which runs the other way "
            "(0 is pure relevance, 1 the most diverse, so diversity = 1 - lambda)"
        )
    blocks: dict[str, type[Block]] = {
        "weights": WeightsBlock,
        "crowding": CapBlock,
        "similarity": KernelBlock,
    }
    known = list((model if len(path) == 1 else blocks[path[0]]).model_fields)
    near = difflib.get_close_matches(path[-1], known, n=1)
    hint = f"did you mean [{near[0]}]?" if near else f"it takes {', '.join(sorted(known))}"
    return f"[{place}] unknown key [{dotted}]: {hint}"


def given_keys(block: TuningBlock | None) -> dict[str, Any]:
    """The keys that a block sets, by name; null counts as not set."""
    if block is None:
        return {}
    named = {name: getattr(block, name) for name in sorted(block.model_fields_set)}
    return {name: value for name, value in named.items() if value is not None}


def join_blocks(block: RequestBlock | None, pipeline: PipelineBlock) -> RequestBlock:
    """The request's own keys, and the pipeline's where the request has none."""
    own = given_keys(block)
    lent = {
        name: value
        for name, value in given_keys(pipeline).items()
        if name in TuningBlock.model_fields and name not in own
    }
    return (block or RequestBlock()).model_copy(update=lent)


def resolve_options(
    block: RequestBlock | None, rerank: RerankSettings, index: IndexSettings | None
) -> SearchOptions:
    """Join request over index over [rerank]; what exceeds the operator's maximum is clamped."""
    block = block or RequestBlock()
    index = index or IndexSettings()
    clamped: list[str] = []

    def clamp(name: str, value: int, maximum: int) -> int:
        if value > maximum:
            clamped.append(name)
        return min(value, maximum)

    own = first(index.expand, rerank.expand)
    allowed = {*own, *rerank.expand_on_request}
    wished = own if block.expand is None else tuple(dict.fromkeys(block.expand))
    if not allowed.issuperset(wished):
        clamped.append("expand")
    weights = block.weights or WeightsBlock(
        relevance=rerank.relevance_weight, first_stage=rerank.first_stage_weight
    )
    kernel = block.similarity or KernelBlock(
        vector=rerank.diversify.vector_weight,
        attributes=rerank.diversify.attribute_weight,
        facets=rerank.diversify.facet_weight,
    )
    return SearchOptions(
        enabled=first(block.enabled, index.enabled, rerank.enabled) and rerank.enabled,
        window=clamp(
            "rank_window_size",
            first(block.rank_window_size, index.rank_window_size, rerank.rank_window_size),
            rerank.max_rank_window_size,
        ),
        timeout_s=clamp(
            "timeout_ms", first(block.timeout_ms, rerank.timeout_ms), rerank.max_timeout_ms
        )
        / 1000,
        ranking=RankingOptions(
            weights=Weights(weights.relevance, weights.first_stage),
            diversity=first(block.diversity, index.diversity, rerank.diversify.diversity),
            kernel=KernelWeights(kernel.vector, kernel.attributes, kernel.facets),
            crowding=tuple(
                Cap(cap.field, cap.max_count, cap.per, cap.mode) for cap in block.crowding
            ),
            min_score=block.min_score,
            unknown_limit=rerank.unknown_limit,
            method=first(block.diversify, rerank.diversify.method),
            adaptive=first(block.adaptive, rerank.diversify.adaptive),
            unasked=block.diversity is None,
        ),
        query_text=block.query_text,
        text_fields=tuple(block.fields or index.text_fields or rerank.text_fields),
        attribute_fields=index.attribute_fields or rerank.attribute_fields,
        price_field=index.price_field or rerank.price_field,
        explain=block.explain,
        expand=tuple(name for name in wished if name in allowed),
        vector_queries=first(index.vector_queries, rerank.vector_queries),
        spelling_below=rerank.spelling_below,
        clamped=tuple(clamped),
    )


def first(*values: Value | None) -> Value:
    """The first value that is given; the last one always is."""
    return next(value for value in values if value is not None)
