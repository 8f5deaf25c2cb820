"""[score_cache]: scores that are kept."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from es_rerank.config.section import Section


class ScoreCacheSettings(Section):
    max_mb: float = Field(
        64.0,
        ge=0,
        description="Megabytes, about, that scores by query and text take in each process; 0 keeps "
        "none.",
    )
    keep_s: float = Field(
        3600.0,
        gt=0,
        description="Seconds that a score is kept. Another model here finds none of them; one "
        "behind a URL may change unseen.",
    )
    redis_url: str | None = Field(
        None,
        description="Redis in which proxies share scores, such as redis://localhost:6379/0; needs "
        "the extra redis.",
    )
    redis_username: str | None = Field(None, description="User at Redis, where it has users.")
    redis_password: SecretStr | None = Field(None, description="Its password; environment only.")
    redis_password_file: Path | None = Field(None, description="File that holds its password.")
    redis_timeout_ms: float = Field(
        20.0, gt=0, description="Milliseconds for Redis; then a search goes on without it."
    )

    @field_validator("redis_url")
    @classmethod
    def _no_credentials(cls, value: str | None) -> str | None:
        if value is not None and "@" in value:
            raise ValueError(
                "redis_url holds credentials, which show in logs: set redis_username, and "
                "ES_RERANK_SCORE_CACHE__REDIS_PASSWORD or redis_password_file"
            )
        return value
