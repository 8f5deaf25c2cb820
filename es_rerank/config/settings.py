"""All tables together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from es_rerank.config.model import EnrichSettings, ModelSettings
from es_rerank.config.proxy import (
    AdminSettings,
    PipelinesSettings,
    ProxySettings,
    ReviewSettings,
)
from es_rerank.config.rerank import IndexSettings, RerankSettings
from es_rerank.config.score_cache import ScoreCacheSettings
from es_rerank.config.scorer import ScorerSettings
from es_rerank.config.section import Section
from es_rerank.config.upstream import SourceSettings, UpstreamSettings

ENV_PREFIX = "ES_RERANK_"
ENV_DELIMITER = "__"


class TelemetrySettings(Section):
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="How much is logged on stderr."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto is console on a terminal, JSON elsewhere."
    )
    access_log: bool = Field(False, description="Log a line for each request.")
    slow_search_ms: int = Field(
        0, ge=0, description="Log searches that take at least so many milliseconds; 0 logs none."
    )
    log_query_text: bool = Field(
        False, description="Show the shopper's words in the lines on searches."
    )
    tracing: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Send OpenTelemetry spans; auto: where OTEL_* names where to, and the extra "
        "otel is installed.",
    )


class Settings(BaseSettings):
    """All settings, checked."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
    )

    upstream: UpstreamSettings = Field(default_factory=UpstreamSettings)
    proxy: ProxySettings = Field(default_factory=ProxySettings)
    rerank: RerankSettings = Field(default_factory=RerankSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    score_cache: ScoreCacheSettings = Field(default_factory=ScoreCacheSettings)
    scorer: ScorerSettings = Field(default_factory=ScorerSettings)
    enrich: EnrichSettings = Field(default_factory=EnrichSettings)
    source: SourceSettings = Field(default_factory=SourceSettings)
    pipelines: PipelinesSettings = Field(default_factory=PipelinesSettings)
    review: ReviewSettings = Field(default_factory=ReviewSettings)
    admin: AdminSettings = Field(default_factory=AdminSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    indices: dict[str, IndexSettings] = Field(
        default_factory=dict, description="By index name or pattern, such as 'products-*'."
    )
    plugins: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Options that a plugin is made with, by its name."
    )


def list_settings(model: type[BaseModel] = Settings, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting's dotted key with its pydantic field, for documentation and `config`."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        dotted = f"{path}{name}"
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from list_settings(annotation, f"{dotted}.")
        elif name == "indices":
            yield from list_settings(IndexSettings, "indices.NAME.")
        elif name == "plugins":
            yield "plugins.NAME", field
        else:
            yield dotted, field
