"""Enrich documents, and only those of which an earlier run's work is not good any more.

What a step added to a document stands under `es_rerank`, with its provenance: the hash of what the
step read, and of its recipe. Where both are the same still, its fields are taken over.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from es_rerank import __version__
from es_rerank.cluster.document import (
    ALONE,
    MEMBER,
    Document,
    one_line,
    read_source,
    splice,
)
from es_rerank.cluster.fields import NAMESPACE
from es_rerank.cluster.sink import Failure, encode_patch
from es_rerank.enrich.sources.source import Record
from es_rerank.enrich.steps.step import PROVENANCE, Step, StopError
from es_rerank.errors import EsRerankError, ModelError

Key = tuple[str, str | None]
LookUp = Callable[[Sequence[Key]], Mapping[Key, bytes]]
SUSPICIOUS = 8  # when so many documents all fail, it is not the documents' fault


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a step's fields come from."""

    recipe: str
    source_hash: str
    time: str
    version: str
    fields: list[str]
    model: str | None = None


class _Own(msgspec.Struct):
    """What stands under `es_rerank`, as far as it says where it comes from."""

    provenance: dict[str, Any] = {}


_OWN = msgspec.json.Decoder(_Own)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass
class Enrichment:
    """The steps of a run, and where earlier work is looked up, best first.

    time: the run's, in ISO 8601.
    """

    steps: Sequence[Step]
    time: str
    look_ups: Sequence[LookUp] = ()
    enriched: int = 0  # documents that a step worked on
    reused: int = 0  # documents taken over whole
    stopped: StopError | None = None  # what a step said that can do no more
    _model: threading.Lock = field(default_factory=threading.Lock)
    _counts: threading.Lock = field(default_factory=threading.Lock)

    def bodies(self, records: Sequence[Record]) -> tuple[list[bytes], list[Failure]]:
        """The enriched `_source` of each record, in order, and the failures of steps.

        Steps run one call at a time, whichever thread asks.
        """
        found: dict[int, bytes] = {}
        earlier = self._find_earlier(records)
        fresh: list[int] = []
        for row, record in enumerate(records):
            before = earlier.get(row)
            if before is not None and self._is_same(record, before):
                found[row] = before
            else:
                fresh.append(row)
        with self._counts:
            self.reused += len(found)
        failures: list[Failure] = []
        documents: list[Document] = []
        rows: list[int] = []
        for row in fresh:
            try:
                documents.append(read_source(records[row].id, records[row].route, records[row].raw))
                rows.append(row)
            except ValueError as error:
                failures.append(_poisoned(records[row].id, records[row].route, "reading", error))
                found[row] = records[row].raw
        if documents:
            patches, failed = self._patch(documents, [earlier.get(row) for row in rows])
            failures += failed
            for row, document, patch in zip(rows, documents, patches, strict=True):
                found[row] = splice(document.raw, encode_patch(patch))
        return [found[row] for row in range(len(records))], failures

    def _find_earlier(self, records: Sequence[Record]) -> dict[int, bytes]:
        # A source that is enriched already brings its own.
        found = {row: record.raw for row, record in enumerate(records) if ALONE in record.raw}
        for look_up in self.look_ups:
            keys = {
                (record.id, record.route): row
                for row, record in enumerate(records)
                if row not in found
            }
            if keys:
                found |= {keys[key]: raw for key, raw in look_up(list(keys)).items() if key in keys}
        return found

    def _is_same(self, record: Record, before: bytes) -> bool:
        """Whether the earlier document is this one, enriched by these very steps."""
        body = one_line(record.raw).rstrip()[:-1].rstrip()
        mark = ALONE if body == b"{" else MEMBER
        if not before.startswith(body) or not before.startswith(mark, len(body)):
            return False
        try:
            origins = _OWN.decode(before[len(body) + len(mark) : -1]).provenance
        except msgspec.DecodeError:
            return False
        if {name: _recipe(origin) for name, origin in origins.items()} != {
            step.name: step.recipe for step in self.steps
        }:
            return False
        return not self.wide or self.hashes(record) == {
            step.name: origins[step.name].get("source_hash") for step in self.wide
        }

    @property
    def wide(self) -> Sequence[Step]:
        """The steps that go by more than the document."""
        return [step for step in self.steps if step.survey is not None]

    def hashes(self, record: Record) -> dict[str, str]:
        """What those steps go by for a document, hashed; nothing where it cannot be read."""
        try:
            document = read_source(record.id, record.route, record.raw)
        except ValueError:
            return {}
        return {step.name: step.hash(document) for step in self.wide}

    def is_renewed(self, record: Record, before: bytes | None) -> bool:
        """Whether those steps say the same of a document as they did before."""
        own = _read_own(before).get(PROVENANCE, {})
        return self.hashes(record) == {
            step.name: (own.get(step.name) or {}).get("source_hash") for step in self.wide
        }

    def _patch(
        self, documents: list[Document], earlier: Sequence[bytes | None]
    ) -> tuple[list[dict[str, Any]], list[Failure]]:
        """Run each step on the documents that need it; the patch of each, and what failed."""
        own = [_read_own(before) for before in earlier]
        origins: list[dict[str, Any]] = [{} for _ in documents]
        failures: list[Failure] = []
        worked: set[int] = set()
        for step in self.steps:
            hashes = [step.hash(document) for document in documents]
            todo = []
            for row, document in enumerate(documents):
                origin = own[row].get(PROVENANCE, {}).get(step.name)
                if isinstance(origin, dict) and (
                    (origin.get("recipe"), origin.get("source_hash")) == (step.recipe, hashes[row])
                ):
                    kept = {name: _find(own[row], name) for name in origin.get("fields", ())}
                    documents[row] = _with(document, kept)
                    origins[row][step.name] = origin
                else:
                    todo.append(row)
            worked.update(todo)
            with self._model:
                made = self._run(step, [documents[row] for row in todo], len(todo))
            for row, patch in zip(todo, made, strict=True):
                if isinstance(patch, Failure):
                    failures.append(patch)
                if patch is None or isinstance(patch, Failure):
                    continue
                more = patch.pop(PROVENANCE, {})
                documents[row] = _with(documents[row], patch)
                origin = Origin(
                    step.recipe, hashes[row], self.time, __version__, list(patch), step.model
                )
                origins[row][step.name] = {**msgspec.to_builtins(origin), **more}
        with self._counts:
            self.enriched += len(worked)
            self.reused += len(documents) - len(worked)
        return [
            {**_unfold(document.patch), PROVENANCE: origin}
            for document, origin in zip(documents, origins, strict=True)
        ], failures

    def _run(
        self, step: Step, documents: Sequence[Document], whole: int
    ) -> list[dict[str, Any] | Failure | None]:
        """Run a step; None for what it did not get to before it had to stop.

        Where it fails, it is run on halves, until the documents that it fails on are found.
        """
        if not documents:
            return []
        try:
            patches = step.enricher.enrich(documents)
            if len(patches) != len(documents):
                raise ModelError(
                    f"the step {step.name} gave {len(patches)} patches for {len(documents)} "
                    "documents: it has to give one for each"
                )
            for patch in patches:
                encode_patch(patch)
        except StopError as stop:
            self.stopped = self.stopped or stop
            return list(stop.patches)
        except EsRerankError:
            raise
        except Exception as error:
            if len(documents) == 1:
                return [_poisoned(documents[0].id, documents[0].routing, step.name, error)]
            half = len(documents) // 2
            made = self._run(step, documents[:half], whole) + self._run(
                step, documents[half:], whole
            )
            if len(documents) == whole >= SUSPICIOUS and all(
                isinstance(patch, Failure) for patch in made
            ):
                raise ModelError(
                    f"the step {step.name} failed on all of {whole} documents "
                    f"({type(error).__name__}: {error}), so it is not for the documents to mend"
                ) from error
            return made
        return list(patches)


def _with(document: Document, patch: Mapping[str, Any]) -> Document:
    return dataclasses.replace(document, patch={**document.patch, **patch})


def _find(own: Mapping[str, Any], name: str) -> Any:
    """What stands at a dotted path below `es_rerank`; None where nothing does."""
    found: Any = own
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _unfold(patch: Mapping[str, Any]) -> dict[str, Any]:
    """A patch with objects where its keys have dots."""
    unfolded: dict[str, Any] = {}
    for name, value in patch.items():
        *parents, last = name.split(".")
        place = unfolded
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = value
    return unfolded


def _read_own(before: bytes | None) -> dict[str, Any]:
    if before is None:
        return {}
    try:
        own = _MEMBERS.decode(before).get(NAMESPACE)
        found = {} if own is None else msgspec.json.decode(own)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _recipe(origin: Any) -> Any:
    return origin.get("recipe") if isinstance(origin, dict) else None


def _poisoned(key: str, routing: str | None, step: str, error: Exception) -> Failure:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return Failure(key, 0, type(error).__name__, reason[:500], routing, None, step)
