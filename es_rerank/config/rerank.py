"""[rerank] and [indices]: what is done with a search."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from es_rerank.config.section import Section

Expansion = Literal["knn", "spelling", "synonyms"]
"""What adds candidates that the words alone do not find."""


def read_expansions(value: Any) -> Any:
    """One expansion as a list of one, `none` as a list of none."""
    if isinstance(value, str):
        return [] if value == "none" else [value]
    return value


class DiversifySettings(Section):
    method: str = Field("dpp", description="dpp, mmr, cap, or the name of a diversifier plugin.")
    diversity: float = Field(
        0.05, ge=0, le=1, description="0 is pure relevance, 1 pure variety (t = 1 - diversity)."
    )
    adaptive: bool = Field(
        True,
        description="Diversity follows how much a search leaves open: up to twice as much for one "
        "word that fits unlike things, less for many words that fit like ones.",
    )
    vector_weight: float = Field(0.5, ge=0, description="Share of cosine in the similarity.")
    attribute_weight: float = Field(
        0.5, ge=0, description="Share of attribute agreement in the similarity."
    )
    facet_weight: float = Field(
        0.0,
        ge=0,
        description="Share of the vectors that depend on the query, where the model gives them: "
        "the package's own does to a proxy of one process, for windows that it has read whole.",
    )
    cap_field: str = Field(
        "brand", description="Attribute that method cap counts; else the index's first."
    )
    cap_count: int = Field(3, ge=1, description="Hits with one value at most, for method cap.")
    cap_per: int = Field(10, ge=1, description="Among so many consecutive hits, for method cap.")


class BreakerSettings(Section):
    failures: int = Field(
        5,
        ge=0,
        description="So many failures of the model, at least half of the searches in the window, "
        "and searches go without it for a while; 0 never.",
    )
    window_s: float = Field(10.0, gt=0, description="Seconds that are looked back at.")
    open_s: float = Field(
        5.0, gt=0, description="Seconds until the model is tried again; doubled while it fails."
    )


class RerankSettings(Section):
    enabled: bool = Field(True, description="Rerank searches; off, everything passes through.")
    auto_off: bool = Field(
        True,
        description="Leave indices alone of which `eval --write-verdict` found that reranking "
        "does not help there.",
    )
    pipeline: str | None = Field(
        None, description="Named pipeline of searches that choose none themselves."
    )
    rank_window_size: int = Field(100, ge=1, le=10_000, description="How many hits are ranked.")
    max_rank_window_size: int = Field(
        1000, ge=1, le=10_000, description="The most that a request may ask for."
    )
    timeout_ms: int = Field(
        500, ge=1, description="Milliseconds for ranking; then the engine's order goes back."
    )
    max_timeout_ms: int = Field(60_000, ge=1, description="The most that a request may ask for.")
    max_waiting: int = Field(
        32, ge=1, description="Searches waiting for the model; more keep the engine's order."
    )
    batching: bool = Field(
        True,
        description="Score several searches' texts in one call of a cross-encoder; off, one search "
        "after the other.",
    )
    batch_wait_ms: float = Field(
        2.0,
        ge=0,
        le=50,
        description="Milliseconds that a call which is not full waits for other searches at most, "
        "where they come that fast.",
    )
    order_cache_s: float = Field(
        60.0,
        ge=0,
        description="Seconds that a list's order is kept, so that its pages agree; 0 keeps none.",
    )
    unknown_limit: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Share of tokens that the model's tokenizer does not know, of the query or of "
        "the window's texts, above which a search is ranked without the model.",
    )
    two_phases: bool = Field(
        False,
        description="Highlight and run script fields for the page alone, by a second search.",
    )
    vector_queries: bool = Field(
        False,
        description="Rerank vector searches too; k, num_candidates and the like are raised to W.",
    )
    dialects: tuple[Literal["opensearch", "elasticsearch"], ...] = Field(
        (),
        description="Reranking asked for as these do, which is then done here: opensearch is "
        "ext.rerank and ext.mmr, elasticsearch the retrievers text_similarity_reranker and "
        "diversify.",
    )
    max_batch: int = Field(
        100, ge=1, description="Searches of one _msearch that are ranked; more are left alone."
    )
    stuck_s: float = Field(
        10.0,
        gt=0,
        description="A model that is over a search's time by so many seconds is taken for stuck "
        "and started anew.",
    )
    relevance_weight: float = Field(0.65, ge=0, description="Weight of the model's score.")
    first_stage_weight: float = Field(0.35, ge=0, description="Weight of the engine's score.")
    text_fields: tuple[str, ...] = Field(
        (), description="Fields the model reads; found from the mapping when empty."
    )
    attribute_fields: tuple[str, ...] = Field(
        (), description="Fields that make hits alike; found from the mapping when empty."
    )
    price_field: str | None = Field(None, description="Price field; found when not given.")
    signals: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, description="Weight of each plugin's signal, by the plugin's name."
    )
    expand: tuple[Expansion, ...] = Field(
        (), description="What adds candidates that the words do not find: knn, spelling, synonyms."
    )
    expand_on_request: tuple[Expansion, ...] = Field(
        (), description="What a request may ask for as well, by its own `expand`."
    )
    spelling_below: int = Field(
        3, ge=1, description="Searches with fewer hits than this have their spelling looked at."
    )
    diversify: DiversifySettings = Field(default_factory=DiversifySettings)
    breaker: BreakerSettings = Field(default_factory=BreakerSettings)

    _read_expand = field_validator("expand", "expand_on_request", mode="before")(read_expansions)

    @model_validator(mode="after")
    def _within_maximum(self) -> RerankSettings:
        for name in ("rank_window_size", "timeout_ms"):
            value, maximum = getattr(self, name), getattr(self, f"max_{name}")
            if value > maximum:
                raise ValueError(
                    f"{name} = {value} is above max_{name} = {maximum}: raise that too"
                )
        return self


class IndexSettings(Section):
    """Settings of the indices whose name matches; what is not given follows [rerank]."""

    enabled: bool | None = Field(None, description="Rerank searches of this index.")
    pipeline: str | None = Field(None, description="As in [rerank]; '_none' for none.")
    rank_window_size: int | None = Field(None, ge=1, le=10_000, description="As in [rerank].")
    vector_queries: bool | None = Field(None, description="As in [rerank].")
    diversity: float | None = Field(None, ge=0, le=1, description="As in [rerank.diversify].")
    text_fields: tuple[str, ...] = Field((), description="As in [rerank].")
    attribute_fields: tuple[str, ...] = Field((), description="As in [rerank].")
    price_field: str | None = Field(None, description="As in [rerank].")
    expand: tuple[Expansion, ...] | None = Field(None, description="As in [rerank].")

    _read_expand = field_validator("expand", mode="before")(read_expansions)
