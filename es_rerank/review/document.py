"""A document with generated texts: what stands in it, and the same with one text decided on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from es_rerank.cluster.document import ALONE, read_source, splice
from es_rerank.cluster.fields import NAMESPACE

PROVENANCE = "provenance"
PREFIX = "text-"
SUMMARY = "summary"
Text = str | list[str]
_ENCODER = msgspec.json.Encoder()
_OWN = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Got(msgspec.Struct, rename={"index": "_index", "id": "_id", "version": "_version"}):
    """A document as the engines show it."""

    index: str
    id: str
    version: int = 0
    routing: str | None = msgspec.field(name="_routing", default=None)
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b"{}"))


@dataclass(frozen=True)
class Item:
    """One generated text of a document.

    step: under which its provenance stands. state: waiting, approved, edited, rejected, or what the
    check found where nobody decided. text: the one that is shown, or that waits.
    """

    id: str
    routing: str | None
    index: str
    step: str
    state: str
    outcome: str
    reasons: tuple[str, ...]
    text: Text | None
    is_shown: bool
    origin: Mapping[str, Any]
    source: Mapping[str, Any]

    @property
    def form(self) -> str:
        """The form's name."""
        return self.step.removeprefix(PREFIX)

    @property
    def seen(self) -> str:
        """Stands for just this text in this state, so that a decision on another can be told."""
        told = msgspec.json.encode([self.text, self.state, self.origin.get("source_hash")])
        return sha256(told).hexdigest()[:16]


def read_items(got: Got) -> list[Item]:
    """The generated texts of a document, those that were blocked too."""
    source = msgspec.json.decode(got.source)
    own = source.pop(NAMESPACE, None) if isinstance(source, dict) else None
    origins = own.get(PROVENANCE) if isinstance(own, dict) else None
    if not isinstance(own, dict) or not isinstance(origins, dict):
        return []
    items = []
    for step, origin in origins.items():
        if not isinstance(origin, dict) or "outcome" not in origin:
            continue
        shown = _find(own, path_of(step))
        items.append(
            Item(
                got.id,
                got.routing,
                got.index,
                step,
                str(origin.get("review", origin["outcome"])),
                str(origin["outcome"]),
                tuple(map(str, origin.get("reasons", ()))),
                origin.get("draft") if shown is None else shown,
                shown is not None,
                origin,
                source,
            )
        )
    return items


def path_of(step: str) -> str:
    """The field of a step's text below `es_rerank`."""
    return SUMMARY if step == SUMMARY else f"text.{step.removeprefix(PREFIX)}"


def step_of(form: str) -> str:
    """The step of a form, by its name or the step's own."""
    return form if form == SUMMARY or form.startswith(PREFIX) else f"{PREFIX}{form}"


def write_decided(
    got: Got, step: str, text: Text | None, draft: Text | None, told: Mapping[str, Any]
) -> bytes:
    """The document's `_source` with that text shown, or none; all other values keep their bytes.

    draft: the text that is kept without being shown. told: what provenance says of the decision.
    """
    raw = bytes(got.source)
    body, own = split_own(raw)
    members = dict(_OWN.decode(own))
    origins = msgspec.json.decode(members.get(PROVENANCE, msgspec.Raw(b"{}")))
    origin = {k: v for k, v in origins.get(step, {}).items() if k not in {"draft", "fields"}}
    path = path_of(step)
    origin["fields"] = [] if text is None else [path]
    origin |= told
    if draft is not None:
        origin["draft"] = draft
    origins[step] = origin
    _put(members, path, text)
    members[PROVENANCE] = msgspec.Raw(_ENCODER.encode(origins))
    return splice(body, _ENCODER.encode(members))


def split_own(raw: bytes) -> tuple[bytes, bytes]:
    """A `_source` without what stands under `es_rerank`, and that; bytes as they were.

    It stands last where reindex wrote it; where something else did, the rest is written anew.
    """
    at = raw.rfind(ALONE)
    if at >= 0:
        own = raw[at + len(ALONE) :].rstrip()[:-1]
        body = raw[:at].rstrip().removesuffix(b",") + b"}"
        try:
            if NAMESPACE not in msgspec.json.decode(body) and _OWN.decode(own) is not None:
                return body, own
        except (msgspec.DecodeError, TypeError):
            pass
    members = _OWN.decode(raw)
    return read_source("", None, raw).raw, bytes(members.get(NAMESPACE, msgspec.Raw(b"{}")))


def _find(own: Mapping[str, Any], path: str) -> Any:
    found: Any = own
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _put(members: dict[str, msgspec.Raw], path: str, text: Text | None) -> None:
    name, _, inner = path.partition(".")
    if not inner:
        members.pop(name, None)
        if text is not None:
            members[name] = msgspec.Raw(_ENCODER.encode(text))
        return
    texts = msgspec.json.decode(members.get(name, msgspec.Raw(b"{}")))
    texts.pop(inner, None)
    if text is not None:
        texts[inner] = text
    members.pop(name, None)
    if texts:
        members[name] = msgspec.Raw(_ENCODER.encode(texts))
