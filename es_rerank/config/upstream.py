"""[upstream]: the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from es_rerank.config.section import Section, join_addresses, split_addresses


class UpstreamSettings(Section):
    url: str = Field(
        "http://localhost:9200",
        description="Address of the cluster, or of several nodes: a list, or parted by commas.",
    )
    username: str | None = Field(None, description="User of our own calls to the cluster.")
    password: SecretStr | None = Field(None, description="Password; environment only.")
    password_file: Path | None = Field(None, description="File that holds the password.")
    api_key: SecretStr | None = Field(None, description="API key; environment only.")
    api_key_file: Path | None = Field(None, description="File that holds the API key.")
    ca_certs: Path | None = Field(None, description="PEM file of the authorities to trust.")
    verify: bool = Field(True, description="Check the cluster's certificate.")
    client_cert: Path | None = Field(
        None, description="PEM file of our own certificate, where the cluster asks for one."
    )
    client_key: Path | None = Field(
        None, description="PEM file of its key; not needed when client_cert holds it too."
    )
    timeout_s: float = Field(
        60.0, gt=0, description="Seconds to wait for the first byte of the cluster's answer."
    )
    stall_timeout_s: float | None = Field(
        None, gt=0, description="Seconds between two pieces of an answer; as timeout_s if unset."
    )
    connect_timeout_s: float = Field(5.0, gt=0, description="Seconds to wait for a connection.")
    connections: int = Field(256, ge=1, description="Connections to the cluster at most.")
    keep_alive_s: float = Field(
        30.0, ge=0, description="Seconds that a connection may rest before it is not used again."
    )
    check_nodes: Literal["out", "always"] = Field(
        "out", description="Check the nodes that are out, or always all of them."
    )
    check_interval_s: float = Field(
        5.0, gt=0, description="Seconds between two checks of a node at most."
    )

    rewrite_nodes: bool = Field(
        False, description="Answer GET /_nodes with our address, for clients that sniff."
    )

    _join = field_validator("url", mode="before")(join_addresses)

    @model_validator(mode="after")
    def _key_has_certificate(self) -> UpstreamSettings:
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("client_key is of no use without client_cert: set that too")
        return self

    @property
    def urls(self) -> tuple[str, ...]:
        """The nodes' addresses, one by one."""
        return split_addresses(self.url)


class SourceSettings(Section):
    url: str | None = Field(
        None,
        description="Address of the cluster that reindex reads from, where it is another one than "
        "upstream.url.",
    )
    username: str | None = Field(None, description="User there.")
    password: SecretStr | None = Field(None, description="Password; environment only.")
    password_file: Path | None = Field(None, description="File that holds the password.")
    api_key: SecretStr | None = Field(None, description="API key; environment only.")
    api_key_file: Path | None = Field(None, description="File that holds the API key.")
    ca_certs: Path | None = Field(None, description="PEM file of the authorities to trust.")
    verify: bool = Field(True, description="Check that cluster's certificate.")
    client_cert: Path | None = Field(None, description="PEM file of our own certificate.")
    client_key: Path | None = Field(None, description="PEM file of its key.")
    timeout_s: float = Field(60.0, gt=0, description="Seconds to wait for an answer.")
