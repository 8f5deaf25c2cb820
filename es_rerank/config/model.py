"""[model] and [enrich]: what scores, and what enriches."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from es_rerank.config.section import Section


class ModelSettings(Section):
    kind: Literal["bi-encoder", "cross-encoder", "remote", "lexical", "plugin"] = Field(
        "bi-encoder",
        description="What scores: vectors, a cross-encoder, a /rerank server, words in common "
        "without a model, or the plugin that model.name names.",
    )
    name: str = Field("all-MiniLM-L6-v2", description="Hub id or folder of the model.")
    url: str | None = Field(None, description="Address of the /rerank server of kind remote.")
    api_key: SecretStr | None = Field(None, description="Its API key; environment only.")
    api_key_file: Path | None = Field(None, description="File that holds its API key.")
    embedder: str = Field("all-MiniLM-L6-v2", description="Hub id or folder of the embedder.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps.")
    threads: int | None = Field(None, ge=1, description="CPU threads of the model; all if unset.")

    @model_validator(mode="after")
    def _remote_has_url(self) -> ModelSettings:
        if self.kind == "remote" and self.url is None:
            raise ValueError("kind = 'remote' needs the server's address: set model.url")
        return self


class EnrichSettings(Section):
    enrichers: tuple[str, ...] = Field(
        (), description="Enricher plugins that reindex runs after its own steps, in order."
    )
