"""The versions behind an alias: which there are, which one is searched, which may go."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from es_rerank.cluster.client import SearchClient, quote
from es_rerank.cluster.fields import NAMESPACE
from es_rerank.cluster.source import SourceIndex
from es_rerank.cluster.templates import FIELD_LIMIT, graph_name, next_version
from es_rerank.errors import ClusterError, ConfigError


@dataclass(frozen=True)
class Version:
    """One index written for the alias. is_live: whether the alias stands for it."""

    index: str
    is_live: bool
    documents: int
    bytes: int
    mappings: Mapping[str, Any]


def list_versions(client: SearchClient, alias: str) -> list[Version]:
    """All versions, oldest first."""
    found = client.request(
        "GET", f"/{quote(alias)}-*", params={"expand_wildcards": "all"}, allow=(404,)
    )
    pattern = re.compile(re.escape(alias) + r"-\d{6,}")
    names = sorted(name for name in found or {} if pattern.fullmatch(name))
    if not names:
        return []
    path = f"/{','.join(map(quote, names))}/_stats/docs,store"
    stats = client.request("GET", path, params={"ignore_unavailable": True})["indices"]
    versions = []
    for name in names:
        held = stats.get(name, {}).get("primaries", {})
        versions.append(
            Version(
                name,
                alias in found[name].get("aliases", {}),
                held.get("docs", {}).get("count", 0),
                held.get("store", {}).get("size_in_bytes", 0),
                found[name].get("mappings", {}),
            )
        )
    return versions


def clone_version(client: SearchClient, alias: str, index: str) -> str | None:
    """Make the next version a clone of `index`; None where the engine will not."""
    name = next_version(client, alias)
    return name if clone_index(client, index, name) else None


def clone_index(client: SearchClient, index: str, name: str) -> bool:
    """Clone an index by hard links; False where the engine will not.

    An index can be cloned only while it takes no writes, so for a moment `index` takes none.
    """
    path = f"/{quote(index)}/_settings"
    settings = {
        "index.blocks.write": False,
        "index.refresh_interval": "-1",
        "index.default_pipeline": "_none",
        "index.final_pipeline": "_none",
    }
    try:
        client.request("PUT", path, {"index.blocks.write": True})
        try:
            client.request("POST", f"/{quote(index)}/_clone/{quote(name)}", {"settings": settings})
        finally:
            client.request("PUT", path, {"index.blocks.write": None})
    except ClusterError:
        if client.request("GET", f"/{quote(name)}", allow=(404,)):
            client.request("DELETE", f"/{quote(name)}", allow=(404,))
        return False
    return True


def has_shape(described: SourceIndex, body: Mapping[str, Any]) -> bool:
    """Whether an index is as `body` would create it, but for what stands under `es_rerank`."""
    settings = {
        name: value
        for name, value in body["settings"].items()
        if name not in (FIELD_LIMIT, "index.refresh_interval")
    }
    held_settings = described.settings
    if any(str(held_settings.get(k)).lower() != str(v).lower() for k, v in settings.items()):
        return False
    wanted, held = body["mappings"], described.mappings
    if wanted.get("dynamic") != held.get("dynamic"):
        return False
    own = dict(wanted.get("properties", {})), dict(held.get("properties", {}))
    for properties in own:
        properties.pop(NAMESPACE, None)
    return own[0] == own[1]


def find_version(versions: Sequence[Version], alias: str, wanted: str | None) -> Version:
    """The version of that name or number; the newest if None. Raises ConfigError."""
    if not versions:
        raise ConfigError(
            f"there is no version behind {alias!r}: es-rerank reindex makes the first"
        )
    if wanted is None:
        return versions[-1]
    for version in versions:
        number = version.index.removeprefix(f"{alias}-")
        if wanted == version.index or (wanted.isdecimal() and int(wanted) == int(number)):
            return version
    names = ", ".join(version.index for version in versions)
    raise ConfigError(f"{alias!r} has no version {wanted!r}; there are {names}")


def find_before(versions: Sequence[Version], alias: str) -> Version:
    """The newest version before the one that is searched. Raises ConfigError."""
    live = [place for place, version in enumerate(versions) if version.is_live]
    if not live:
        raise ConfigError(
            f"the alias {alias!r} stands for none of its versions: name one to swap to"
        )
    if live[0] == 0:
        raise ConfigError(f"there is no version before {versions[0].index} to go back to")
    return versions[live[0] - 1]


def choose_old(versions: Sequence[Version], keep: int) -> list[Version]:
    """What prune removes: all but the searched one, what is newer, and `keep` before it."""
    live = [place for place, version in enumerate(versions) if version.is_live]
    if not live:
        return []
    return list(versions[: max(0, live[0] - keep)])


def delete_version(client: SearchClient, version: Version) -> None:
    """Delete the index, and the graph beside it."""
    for name in (version.index, graph_name(version.index)):
        client.request("DELETE", f"/{quote(name)}", allow=(404,))
