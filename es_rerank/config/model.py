"""[model] and [enrich]: what scores, and what enriches."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from es_rerank.config.section import Section, join_addresses, split_addresses

OWN = "default"
"""The model's name where none is given."""


class ModelSettings(Section):
    kind: Literal["bi-encoder", "cross-encoder", "remote", "lexical", "plugin"] = Field(
        "cross-encoder",
        description="What scores: vectors, a cross-encoder, a /rerank server, words in common "
        "without a model, or the plugin that model.name names.",
    )
    name: str = Field(
        OWN,
        description="Hub id or folder of the model; `default` is the package's own cross-encoder, "
        "for a bi-encoder model.embedder, and for a server whatever it has.",
    )
    url: str | None = Field(
        None,
        description="Address of the /rerank server of kind remote, or of several with the same "
        "model: a list, or parted by commas.",
    )
    api: Literal["auto", "tei", "infinity", "cohere", "jina", "voyage"] = Field(
        "auto",
        description="What the server speaks; auto tells by the address, or asks the server.",
    )
    api_key: SecretStr | None = Field(None, description="Its API key; environment only.")
    api_key_file: Path | None = Field(None, description="File that holds its API key.")
    ca_certs: Path | None = Field(
        None, description="PEM file of the authorities that the server's certificate is of."
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        description="Texts in one request to the server at most; learnt from it if unset.",
    )
    parallel: int = Field(
        8, ge=1, le=256, description="Requests to the server under way at one time at most."
    )
    fallback: Literal["none", "lexical", "bi-encoder"] = Field(
        "none",
        description="What scores where the server does not: words in common, or the vectors of "
        "model.embedder; none keeps the engine's order.",
    )
    embedder: str = Field("all-MiniLM-L6-v2", description="Hub id or folder of the embedder.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps.")
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = Field(
        "auto",
        description="Numbers that a cross-encoder is computed in: bf16 where the device multiplies "
        "them itself, else fp32 (auto). int8 is faster on a CPU and less exact: measure first.",
    )
    max_tokens: int | None = Field(
        None,
        ge=16,
        le=512,
        description="Tokens of query and text that a cross-encoder reads at most; as many as the "
        "model takes, and 512 at most, if unset.",
    )
    passages: int = Field(
        1,
        ge=1,
        le=16,
        description="Into how many passages a text is cut at most that is longer than that: the "
        "best one's score counts. 1 reads its beginning alone.",
    )
    text_labels: bool = Field(
        False,
        description="Show a model that reads texts each field with its name, as in `title: red "
        "shoe. brand: Acme`; for models that learned it so.",
    )
    threads: int | None = Field(None, ge=1, description="CPU threads of the model; all if unset.")

    _join = field_validator("url", mode="before")(join_addresses)

    @model_validator(mode="after")
    def _no_credentials(self) -> ModelSettings:
        if any("@" in url.partition("://")[2].partition("/")[0] for url in self.urls):
            raise ValueError(
                "url holds credentials, which show in logs: give the key by "
                "ES_RERANK_MODEL__API_KEY or api_key_file"
            )
        return self

    @property
    def urls(self) -> tuple[str, ...]:
        """The servers' addresses, one by one."""
        return split_addresses(self.url)

    @model_validator(mode="after")
    def _remote_has_url(self) -> ModelSettings:
        if self.kind == "remote" and not self.urls:
            raise ValueError("kind = 'remote' needs the server's address: set model.url")
        return self


class EnrichSettings(Section):
    enrichers: tuple[str, ...] = Field(
        (), description="Enricher plugins that reindex runs after its own steps, in order."
    )
