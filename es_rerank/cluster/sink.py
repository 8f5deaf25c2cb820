"""Write documents in bulk, each as the state it was read in, and tell why one is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from es_rerank.cluster.bulk import Action, Item, Pace, send_actions
from es_rerank.cluster.client import SearchClient, quote
from es_rerank.cluster.document import one_line

# The field's name in what either engine says of a document that does not fit its mapping.
FIELD = (
    re.compile(r"failed to parse field \[([^\]]+)\] of type \[([^\]]+)\]"),
    re.compile(r"dynamic introduction of \[([^\]]+)\] within \[([^\]]+)\]"),
    re.compile(r"object mapping for \[([^\]]+)\]"),
    re.compile(r"mapper \[([^\]]+)\] (?:cannot be changed|of different type)"),
    re.compile(r'immense term in field="([^"]+)"'),
    re.compile(r"[Ff]ield \[([^\]]+)\]"),
    re.compile(r"(?:field|for) '([^']+)'"),
)


@dataclass(frozen=True)
class Failure:
    """A document that was not written as it should be, and why.

    field: the field that did not fit. step: the enricher that failed; the document was then written
    without its fields.
    """

    id: str
    status: int
    type: str
    reason: str
    routing: str | None = None
    field: str | None = None
    step: str | None = None

    @property
    def described(self) -> str:
        """One line for people, with what can be done."""
        said = f"{self.id}: {self.type}: {self.reason}"
        if self.step is not None:
            return f"{said} (written without what {self.step} adds)"
        if self.field is None:
            return said
        mend = f"the field {self.field!r} does not fit its mapping in the destination"
        if "strict" in self.type:
            mend = f"the mapping is strict and has no field {self.field!r}"
        return f"{said} ({mend}: mend the document, or map the field otherwise)"


def index_action(key: bytes, routing: bytes | None, version: int | None, raw: bytes) -> Action:
    """The action that writes a document, unless the index holds a later state of it.

    key, routing: JSON strings. version: grows with each state of the document; None writes always.
    """
    head = b'{"index":{"_id":' + key
    if routing is not None:
        head += b',"routing":' + routing
    if version is not None:
        head += b',"version":%d,"version_type":"external_gte"' % version
    return Action(head + b"}}", one_line(raw))


def delete_action(key: str, routing: str | None) -> Action:
    """The action that removes a document."""
    named = {"_id": key} if routing is None else {"_id": key, "routing": routing}
    return Action(orjson.dumps({"delete": named}), None)


def write_actions(
    client: SearchClient, index: str, actions: Sequence[Action], pace: Pace
) -> list[tuple[int, Failure]]:
    """Write to the index; return the place and the Failure of each action that was refused.

    Raises ClusterError when the cluster cannot be reached, stays busy, or takes no writes.
    """
    # What is copied has been through its pipelines.
    items = send_actions(client, f"/{quote(index)}/_bulk?pipeline=_none", actions, pace)
    return [
        (place, _failure(actions[place], item))
        for place, item in enumerate(items)
        if item is not None and item.status >= 300 and item.status != 409
    ]


def encode_patch(patch: Mapping[str, Any]) -> bytes:
    """Encode a patch as JSON; numpy rows as lists of the shortest exact numbers."""
    return orjson.dumps(patch, option=orjson.OPT_SERIALIZE_NUMPY)


def find_field(reason: str) -> str | None:
    """The field that a refusal names."""
    found = next((match for pattern in FIELD if (match := pattern.search(reason))), None)
    if found is None:
        return None
    name, *others = found.groups()
    within = others[0] if others and "dynamic introduction" in found[0] else "_doc"
    return name if within == "_doc" else f"{within}.{name}"


def _failure(action: Action, item: Item) -> Failure:
    ((_, named),) = orjson.loads(action.head).items()
    return Failure(
        str(named["_id"]),
        item.status,
        item.kind,
        item.reason,
        named.get("routing"),
        find_field(item.reason),
    )
