"""[proxy], [admin], [pipelines] and [review]: how we are reached, and by whom."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, model_validator

from es_rerank.config.section import Section


class ProxySettings(Section):
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(9400, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_address: str | None = Field(
        None,
        description="host:port that clients know us by, for upstream.rewrite_nodes; by default "
        "what they write in Host.",
    )
    max_search_bytes: int = Field(
        2_000_000, ge=1024, description="A larger search body passes through unranked."
    )
    max_answer_bytes: int = Field(
        50_000_000, ge=1024, description="A larger search answer passes through unranked."
    )
    compare: bool = Field(True, description="Serve the compare page.")
    workers: int = Field(
        1,
        ge=1,
        description="Processes that serve; several share one scorer process where the model is "
        "local.",
    )
    drain_s: float = Field(
        30.0, ge=0, description="Seconds that requests under way have left when the proxy ends."
    )
    tls_cert: Path | None = Field(
        None, description="PEM file of the proxy's certificate and its chain; with it, TLS alone."
    )
    tls_key: Path | None = Field(None, description="PEM file of the certificate's key.")
    tls_client_ca: Path | None = Field(
        None, description="PEM file of authorities; clients must show a certificate of theirs."
    )
    connections: int | None = Field(
        None,
        ge=1,
        description="Clients' connections at most; from the limit of open files if unset.",
    )
    max_line_bytes: int = Field(
        16_384, ge=1024, description="A longer request line (method and target) is refused."
    )
    max_head_bytes: int = Field(
        65_536, ge=1024, description="A request whose head is larger is refused."
    )
    max_headers: int = Field(256, ge=8, description="A request with more headers is refused.")
    head_timeout_s: float = Field(
        30.0, gt=0, description="Seconds from a request head's first byte to its last."
    )
    body_timeout_s: float = Field(
        60.0, gt=0, description="Seconds between two pieces of a request's body."
    )
    send_timeout_s: float = Field(
        60.0, gt=0, description="Seconds that a client may read nothing of its answer."
    )
    idle_timeout_s: float = Field(
        75.0, gt=0, description="Seconds that a client's connection may rest between requests."
    )

    @model_validator(mode="after")
    def _certificate_and_key(self) -> ProxySettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together: set both, or neither")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca needs TLS: set tls_cert and tls_key")
        return self


class AdminSettings(Section):
    host: str = Field("127.0.0.1", description="Address to listen on where [admin] port is set.")
    port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of their own for the admin routes; unset, the proxy's port serves them.",
    )
    token: SecretStr | None = Field(
        None,
        min_length=1,
        description="What admin routes but live and ready ask for; environment only.",
    )
    token_file: Path | None = Field(None, description="File that holds the token.")


class PipelinesSettings(Section):
    index: str = Field(
        "es-rerank-pipelines",
        pattern=r"^[a-z0-9.][a-z0-9._-]{0,200}$",
        description="Index of the cluster that keeps the named pipelines.",
    )
    poll_s: float = Field(
        3.0,
        ge=0,
        description="Seconds between two looks for changed pipelines; 0 never looks.",
    )


class ReviewSettings(Section):
    index: str = Field(
        "es-rerank-reviews",
        pattern=r"^[a-z0-9.][a-z0-9._-]{0,200}$",
        description="Index of the cluster that keeps what people decided on generated texts.",
    )
