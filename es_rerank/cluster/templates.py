"""Shape the destination: its fields from index_templates/, its name, and the alias in front.

An enriched index is versioned, `products-reranked-000001`, and searched through an alias,
`products-reranked`. A new run writes the next version beside the old one and moves the alias in one
atomic step; no old index is ever deleted.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from es_rerank.cluster.client import SearchClient, quote
from es_rerank.cluster.fields import NAMESPACE
from es_rerank.cluster.server import Kind
from es_rerank.cluster.source import SourceIndex
from es_rerank.errors import ClusterError, ConfigError

COMPONENT = "es-rerank-fields"
INDEX_TEMPLATE = "es-rerank"
VECTOR_SIZE_KEY: Mapping[Kind, str] = {"opensearch": "dimension", "elasticsearch": "dims"}

# What belongs to the old index itself, or would act on the new one behind our back.
NOT_COPIED = (
    "index.blocks.",
    "index.creation_date",
    "index.history.",
    "index.lifecycle.",
    "index.opendistro.",
    "index.plugins.index_state_management.",
    "index.provided_name",
    "index.remote_store.",
    "index.resize.",
    "index.routing.allocation.initial_recovery.",
    "index.soft_deletes.",
    "index.store.snapshot.",
    "index.uuid",
    "index.verified_before_close",
    "index.version.",
)
FIELD_LIMIT = "index.mapping.total_fields.limit"
DEFAULT_FIELD_LIMIT = 1000
# Set once everything is written: pipelines must not touch what we copy, and refreshing costs.
SET_LAST = ("index.default_pipeline", "index.final_pipeline", "index.refresh_interval")


def load_template(kind: Kind, name: str) -> dict[str, Any]:
    """Read one template of index_templates/."""
    file = resources.files("es_rerank") / "index_templates" / kind / f"{name}.json"
    template: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return template


def load_component(kind: Kind, dimensions: int) -> dict[str, Any]:
    """Read the component template with es-rerank's fields, for vectors of `dimensions`."""
    component = load_template(kind, COMPONENT)
    own = component["template"]["mappings"]["properties"][NAMESPACE]["properties"]
    own["vector"][VECTOR_SIZE_KEY[kind]] = dimensions
    return component


def install_templates(client: SearchClient, dimensions: int) -> list[str]:
    """Install both templates and return their names; installing them again changes nothing."""
    component = load_component(client.kind, dimensions)
    client.request("PUT", f"/_component_template/{COMPONENT}", component)
    index_template = load_template(client.kind, INDEX_TEMPLATE)
    client.request("PUT", f"/_index_template/{INDEX_TEMPLATE}", index_template)
    return [COMPONENT, INDEX_TEMPLATE]


def destination_body(
    kind: Kind,
    source: SourceIndex,
    dimensions: int,
    meta: Mapping[str, Any],
    steps: Sequence[str] = ("vector", "summary"),
    more: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Make the body that creates the destination: the source's mapping and settings, our fields.

    `meta` becomes `_meta.es_rerank`. steps: those whose fields are added; none for a mere copy.
    more: properties below `es_rerank` that the templates do not have.
    Pipelines and the refresh interval come later, from finish_index.
    """
    settings = {
        key: value
        for key, value in source.settings.items()
        if not key.startswith(NOT_COPIED) and key not in SET_LAST
    }
    settings["index.refresh_interval"] = "-1"
    mappings = copy.deepcopy(dict(source.mappings))
    mappings["_meta"] = {**mappings.get("_meta", {}), NAMESPACE: dict(meta)}
    if not steps:
        return {"settings": settings, "mappings": mappings}
    component = load_component(kind, dimensions)["template"]
    own = component["mappings"]["properties"][NAMESPACE]
    if "vector" in steps:
        for key, value in component.get("settings", {}).get("index", {}).items():
            settings[f"index.{key}"] = value
    else:
        del own["properties"]["vector"], own["properties"]["code"]
    origins = own["properties"]["provenance"]["properties"]
    for step in steps:
        origins.setdefault(step, copy.deepcopy(origins["vector"]))
    for added in more:
        merge_properties(own["properties"], added)
    properties = mappings.setdefault("properties", {})
    there = count_fields(properties[NAMESPACE]) if NAMESPACE in properties else 0
    if count_fields(own) > there:  # a source at its limit of fields has no room for ours
        limit = int(settings.get(FIELD_LIMIT, DEFAULT_FIELD_LIMIT))
        settings[FIELD_LIMIT] = limit + count_fields(own) - there
    properties[NAMESPACE] = own
    return {"settings": settings, "mappings": mappings}


def merge_properties(properties: dict[str, Any], added: Mapping[str, Any]) -> None:
    """Add properties to others; objects that both have are merged, of fields the first stays."""
    for name, spec in added.items():
        if name not in properties:
            properties[name] = copy.deepcopy(dict(spec))
        elif "properties" in spec:
            merge_properties(properties[name].setdefault("properties", {}), spec["properties"])


def count_fields(spec: Mapping[str, Any]) -> int:
    """Count a field and all below it, objects too, as the engines' limit does."""
    return 1 + sum(count_fields(sub) for sub in spec.get("properties", {}).values())


def check_alias(client: SearchClient, alias: str) -> list[str]:
    """Return the indices that `alias` stands for now, none if it is free.

    Raises ConfigError when the name is taken by an index or data stream, or is no good name.
    """
    if not re.fullmatch(r"[^A-Z\\/*?\"<>| ,#:+_.-][^A-Z\\/*?\"<>| ,#:]*", alias):
        raise ConfigError(
            f"{alias!r} cannot name an index: use lower case, without spaces or any of "
            '\\ / * ? " < > | , # : and begin with a letter or digit.'
        )
    aliases = client.request("GET", f"/_alias/{quote(alias)}", allow=(404,))
    if aliases:
        return sorted(aliases)
    if client.request("GET", f"/{quote(alias)}", allow=(404,)):
        raise ConfigError(
            f"{alias!r} is an index, not an alias, so nothing can be swapped behind it. Choose "
            f"another DEST, say {alias}-reranked, and point your searches there."
        )
    return []


def next_version(client: SearchClient, alias: str) -> str:
    """Name the next version behind the alias: one more than the highest that is there."""
    taken = client.request(
        "GET",
        f"/{quote(alias)}-*/_alias",
        params={"expand_wildcards": "all", "ignore_unavailable": True},
        allow=(404,),
    )
    pattern = re.compile(re.escape(alias) + r"-(\d{6})")
    numbers = [int(found[1]) for name in taken or {} if (found := pattern.fullmatch(name))]
    return f"{alias}-{max(numbers, default=0) + 1:06d}"


def create_index(client: SearchClient, alias: str, body: Mapping[str, Any]) -> str:
    """Create the next version and return its name. Raises ClusterError when the engine refuses."""
    while True:
        name = next_version(client, alias)
        try:
            client.request("PUT", f"/{quote(name)}", body)
        except ClusterError as error:
            if "resource_already_exists" in str(error) and next_version(client, alias) != name:
                continue  # another run took this number in between
            if client.kind == "opensearch" and re.search(r"index\.knn|knn_vector", str(error)):
                raise ClusterError(
                    f"{error} This OpenSearch seems to lack the k-NN plugin, which every "
                    "distribution but the minimal one carries: "
                    "bin/opensearch-plugin install opensearch-knn, then restart it."
                ) from error
            raise
        return name


def finish_index(client: SearchClient, name: str, source: SourceIndex) -> None:
    """Give the written index its pipelines and refresh interval and make it searchable."""
    settings = {key: source.settings.get(key) for key in SET_LAST}
    present = {k: v for k, v in settings.items() if v is not None or k == SET_LAST[-1]}
    client.request("PUT", f"/{quote(name)}/_settings", present)
    client.request("POST", f"/{quote(name)}/_refresh")


def graph_name(index: str) -> str:
    """The index of the graph beside a version: `shop-000002` has `shop-graph-000002`."""
    alias, _, number = index.rpartition("-")
    return f"{alias}-graph-{number}"


def swap_alias(client: SearchClient, alias: str, index: str) -> list[str]:
    """Point the alias at `index` alone, in one atomic step; return what it stood for before.

    In the same step `ALIAS-graph` comes to stand for the graph beside it, or for nothing.
    """
    before = check_alias(client, alias)
    actions: list[dict[str, Any]] = [
        {"remove": {"index": old, "alias": alias}} for old in before if old != index
    ]
    actions.append({"add": {"index": index, "alias": alias}})
    graph, beside = f"{alias}-graph", graph_name(index)
    held = client.request("GET", f"/_alias/{quote(graph)}", allow=(404,)) or {}
    ours = re.compile(re.escape(graph) + r"-\d{6,}")
    actions += [
        {"remove": {"index": old, "alias": graph}}
        for old in held
        if old != beside and ours.fullmatch(old)
    ]
    if client.request("GET", f"/{quote(beside)}", allow=(404,)):
        actions.append({"add": {"index": beside, "alias": graph}})
    client.request("POST", "/_aliases", {"actions": actions})
    return before
