"""Which settings change while the proxy runs, and which need it started anew."""

from __future__ import annotations

from es_rerank.config import Section, Settings

LIVE = ("rerank", "indices", "telemetry", "model")
"""Tables that change without a restart; the model is loaded before the old one is let go."""


def join_settings(old: Settings, new: Settings) -> tuple[Settings, list[str]]:
    """What holds from now on, and the dotted keys of what changed but needs a restart."""
    updates = {name: getattr(new, name) for name in LIVE}
    waiting = [
        key
        for name in type(new).model_fields
        if name not in LIVE
        for key in list_changes(name, getattr(old, name), getattr(new, name))
    ]
    return old.model_copy(update=updates), waiting


def list_changes(path: str, old: object, new: object) -> list[str]:
    """The dotted keys under `path` whose values differ."""
    if old == new:
        return []
    if not (isinstance(old, Section) and isinstance(new, Section)):
        return [path]
    return [
        key
        for name in type(new).model_fields
        for key in list_changes(f"{path}.{name}", getattr(old, name), getattr(new, name))
    ]
