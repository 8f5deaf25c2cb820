"""Named pipelines as the cluster keeps them: one document, changed only by compare and set.

One document, so that a read is one realtime `GET` that waits for no refresh, all pipelines are of
one moment, and a poll that finds nothing new costs a few hundred bytes.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from es_rerank.errors import EsRerankError
from es_rerank.proxy.answer import Header
from es_rerank.proxy.upstream import Answer, Upstream

DOCUMENT = b"all"
MAX_BYTES = 20_000_000
ATTEMPTS = 10
PAUSE_S = 0.1
JSON = (b"content-type", b"application/json")
INDEX: dict[str, Any] = {
    "settings": {
        "index": {"hidden": True, "number_of_shards": 1, "auto_expand_replicas": "0-1"},
    },
    "mappings": {
        "dynamic": "strict",
        "properties": {
            "revision": {"type": "keyword"},
            "floor": {"type": "long"},
            "pipelines": {"type": "object", "enabled": False},
        },
    },
}


class StoreError(EsRerankError):
    """The cluster refused to show or change the pipelines; `answer` is what it said."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"the cluster answered {answer.status}")
        self.answer = answer


class ConflictError(EsRerankError):
    """The pipelines were changed by others at the same time, again and again."""


@dataclass(frozen=True)
class Stored:
    """All pipelines at one moment.

    revision: another after each change, empty while nothing is stored. floor: the highest version
    that a pipeline which is no more ever had; a new one begins above it, so that no name sees a
    version twice. pipelines: each one's body by its name, `version` included.
    """

    revision: str = ""
    floor: int = 0
    pipelines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class PipelineStore:
    """Reads and writes the document.

    Every call may raise StoreError, UpstreamError or AnswerTooLargeError.
    """

    def __init__(self, upstream: Upstream, index: str) -> None:
        self._upstream = upstream
        self._index = b"/" + quote(index, safe="").encode()

    async def read_revision(self, credentials: Iterable[Header]) -> str:
        """The revision alone, which says whether there is anything new; empty where none is."""
        target = self._index + b"/_doc/" + DOCUMENT + b"?_source_includes=revision"
        answer = await self._ask("GET", target, credentials)
        if answer.status == 404:
            return ""
        return read_stored(answer)[0].revision

    async def read(self, credentials: Iterable[Header]) -> Stored:
        """All pipelines; none where nothing was ever stored."""
        return (await self._read(credentials))[0]

    async def change(
        self, edit: Callable[[Stored], Stored], credentials: Iterable[Header]
    ) -> Stored:
        """Put `edit` of what is stored in its place. Returns what is stored then.

        Tried again when somebody else was faster, and while the index that another has just made
        is not up yet; ConflictError when that never ends. What `edit` raises goes through.
        """
        for attempt in range(ATTEMPTS):
            try:
                stored, seen = await self._read(credentials)
            except StoreError as error:
                if error.answer.status != 503 or attempt == ATTEMPTS - 1:
                    raise
                await asyncio.sleep(PAUSE_S)
                continue
            wanted = edit(stored)
            if wanted is stored:
                return stored
            if not seen:
                await self._create_index(credentials)
            written = Stored(uuid.uuid4().hex, wanted.floor, wanted.pipelines)
            if await self._write(written, seen, credentials):
                return written
        raise ConflictError("others change the pipelines at the same time: try again")

    async def _read(self, credentials: Iterable[Header]) -> tuple[Stored, bytes]:
        """What is stored, and the parameters that hold a write to it; none where nothing is."""
        answer = await self._ask("GET", self._index + b"/_doc/" + DOCUMENT, credentials)
        if answer.status == 404:
            return Stored(), b""
        return read_stored(answer)

    async def _write(self, stored: Stored, seen: bytes, credentials: Iterable[Header]) -> bool:
        """Write where nothing was changed since `seen`. Returns whether it was so."""
        way = b"/_doc/" + DOCUMENT + b"?" + seen if seen else b"/_create/" + DOCUMENT
        body = msgspec.json.encode(stored)
        answer = await self._ask("PUT", self._index + way, credentials, body)
        if answer.status == 409:
            return False
        if answer.status not in {200, 201}:
            raise StoreError(answer)
        return True

    async def _create_index(self, credentials: Iterable[Header]) -> None:
        """Make the index; one that is there already does no harm."""
        answer = await self._ask("PUT", self._index, credentials, msgspec.json.encode(INDEX))
        if answer.status != 200 and b"resource_already_exists_exception" not in answer.body:
            raise StoreError(answer)

    async def _ask(
        self, method: str, target: bytes, credentials: Iterable[Header], body: bytes | None = None
    ) -> Answer:
        headers = [*credentials, *([JSON] if body is not None else [])]
        answer = await self._upstream.ask(
            method, target, headers, body, MAX_BYTES, repeatable=method == "GET"
        )
        if method == "GET" and answer.status not in {200, 404}:
            raise StoreError(answer)
        return answer


def read_stored(answer: Answer) -> tuple[Stored, bytes]:
    """The document in a `GET`'s answer, and the parameters that hold a write to just this one."""
    try:
        document = msgspec.json.decode(answer.body, type=Document)
    except msgspec.DecodeError:
        raise StoreError(answer) from None
    seen = f"if_seq_no={document.seq_no}&if_primary_term={document.primary_term}"
    return document.source, seen.encode()


class Document(msgspec.Struct, rename={"seq_no": "_seq_no", "primary_term": "_primary_term"}):
    """A stored document as the engines show it."""

    seq_no: int
    primary_term: int
    source: Stored = msgspec.field(name="_source")
