"""A dialect's block: its keys taken out one by one, and the engine's own errors for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from es_rerank.errors import RequestError
from es_rerank.proxy.search.request import RAW_LIST, RAW_OBJECT


class Reading:
    """The keys of one block, named `name` in errors. What is not taken is unknown."""

    def __init__(self, name: str, raw: msgspec.Raw | bytes) -> None:
        self.name = name
        try:
            self._left = RAW_OBJECT.decode(raw)
        except msgspec.DecodeError:
            raise RequestError(f"[{name}] must be an object") from None

    def raw(self, key: str) -> msgspec.Raw | None:
        """A key's bytes; None where it is absent or null."""
        raw = self._left.pop(key, None)
        return None if raw is None or bytes(raw) == b"null" else raw

    def raw_list(self, key: str) -> list[msgspec.Raw]:
        """The bytes of each of several values, or of one that stands alone."""
        raw = self.raw(key)
        if raw is None:
            return []
        return RAW_LIST.decode(raw) if bytes(raw).startswith(b"[") else [raw]

    def value(self, key: str) -> Any:
        """A key's value; None where it is absent."""
        raw = self.raw(key)
        return None if raw is None else msgspec.json.decode(raw)

    def text(self, key: str, required: bool = False, longest: int = 2000) -> str | None:
        """A string that is not empty."""
        value = self.value(key)
        if value is None and not required:
            return None
        if value is None:
            raise RequestError(f"[{self.name}] Required [{key}]", "illegal_argument_exception")
        if not isinstance(value, str) or not value.strip() or len(value) > longest:
            raise self.wrong(key, f"must be a string of at most {longest} characters")
        return value

    def number(self, key: str, least: float, most: float) -> float | None:
        """A number within a range."""
        value = self.value(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, "must be a number")
        if not least <= value <= most:
            raise self.wrong(key, f"must be between {least:g} and {most:g}")
        return value

    def count(self, key: str, least: int = 1) -> int | None:
        """A whole number from `least`."""
        value = self.value(key)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or value < least
        ):
            raise self.wrong(key, f"must be a whole number from {least}")
        return value

    def flag(self, key: str) -> bool | None:
        """A boolean."""
        value = self.value(key)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, "must be true or false")
        return value

    def end(self, message: str = "[{name}] unknown field [{key}]") -> None:
        """Refuse what was not taken, as the engine does."""
        for key in self._left:
            raise RequestError(message.format(name=self.name, key=key), "x_content_parse_exception")

    def wrong(self, key: str, wish: str) -> RequestError:
        """The error for a key's value."""
        return RequestError(f"[{self.name}] [{key}] {wish}", "illegal_argument_exception")


def join_blocks(own: Any, derived: Mapping[str, Any]) -> Any:
    """What a dialect asks for under what the request's own block asks for."""
    if own is None:
        return dict(derived)
    return {**derived, **own} if isinstance(own, dict) else own
