"""A table of the TOML file."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the TOML file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def join_addresses(value: Any) -> Any:
    """A list of addresses as one text, parted by commas."""
    return ",".join(value) if isinstance(value, list | tuple) else value


def split_addresses(value: str | None) -> tuple[str, ...]:
    """The addresses, one by one."""
    return tuple(url for part in (value or "").split(",") if (url := part.strip()))
