"""[scorer]: the model alone, as `es-rerank serve --scorer-only` serves it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from es_rerank.config.section import Section


class ScorerSettings(Section):
    token: SecretStr | None = Field(
        None,
        min_length=1,
        description="What a scorer asks its callers for, as a proxy's model.api_key; environment "
        "only.",
    )
    token_file: Path | None = Field(None, description="File that holds the token.")
    max_texts: int = Field(
        1000, ge=1, description="Texts in one request at most; a proxy learns it and splits."
    )
    max_bytes: int = Field(8_000_000, ge=1024, description="A larger request is refused.")
    timeout_s: float = Field(
        30.0, gt=0, description="Seconds for one request, where its caller does not say less."
    )
