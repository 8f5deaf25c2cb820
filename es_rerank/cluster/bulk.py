"""Bulk requests: as large as the cluster takes them, sent again where it is busy, each item told.

What goes into one request adapts: a refusal (429, 413, a time-out) halves it, every request that is
taken lets it grow by an eighth (additive increase, multiplicative decrease: Chiu and Jain, 1989).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from es_rerank.cluster.client import SearchClient
from es_rerank.cluster.patience import BLOCKS, PAUSES, patiently, wait
from es_rerank.cluster.wire import BLOCKED, NDJSON, refusal
from es_rerank.errors import ClusterError

MAX_BYTES = 8 * 1024 * 1024  # the smallest managed clusters take requests of 10 MB
MIN_BYTES = 64 * 1024
MAX_DOCUMENTS = 5_000
NEWER = 409  # a later state of the document is there already


class Action(msgspec.Struct, frozen=True):
    """One line that says what to do, and the document on one line, None for a deletion."""

    head: bytes
    body: bytes | None

    @property
    def size(self) -> int:
        """Bytes in the request."""
        return len(self.head) + len(self.body or b"") + 2


class Cause(msgspec.Struct, frozen=True):
    """An error inside an error."""

    type: str = ""
    reason: str | None = None


class Error(msgspec.Struct, frozen=True):
    """Why an item was refused, in the engine's words."""

    type: str = ""
    reason: str | None = None
    caused_by: Cause | None = None


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one action."""

    status: int
    id: str = msgspec.field(name="_id", default="")
    error: Error | str | None = None

    @property
    def kind(self) -> str:
        """The error's type."""
        return self.error.type if isinstance(self.error, Error) else "error"

    @property
    def reason(self) -> str:
        """The error's words, with those of its cause."""
        if not isinstance(self.error, Error):
            return str(self.error)
        cause = self.error.caused_by
        return f"{self.error.reason}{f': {cause.reason}' if cause and cause.reason else ''}"


class _Answer(msgspec.Struct):
    errors: bool
    items: msgspec.Raw


_ANSWER = msgspec.json.Decoder(_Answer)
_ITEMS = msgspec.json.Decoder(list[dict[str, Item]])


@dataclass
class Pace:
    """How much goes into one request; shared by all who write to an index."""

    bytes: int = MAX_BYTES
    documents: int = MAX_DOCUMENTS
    refusals: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _most: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self._most = (self.bytes, self.documents)

    def taken(self) -> None:
        """Let the next request be a little larger."""
        with self._lock:
            self.bytes = min(self.bytes + self.bytes // 8, self._most[0])
            self.documents = min(self.documents + self.documents // 8 + 1, self._most[1])

    def refused(self) -> None:
        """Let the next request be half as large."""
        with self._lock:
            self.refusals += 1
            self.bytes = max(self.bytes // 2, min(MIN_BYTES, self._most[0]))
            self.documents = max(self.documents // 2, 1)

    def cut(self, actions: Sequence[Action], start: int) -> int:
        """Where the request that begins at `start` ends: one action at least."""
        size, end = actions[start].size, start + 1
        most = min(len(actions), start + self.documents)
        while end < most and (size := size + actions[end].size) <= self.bytes:
            end += 1
        return end


def send_actions(
    client: SearchClient, path: str, actions: Sequence[Action], pace: Pace
) -> list[Item | None]:
    """Send all actions; return for each, in order, None or the Item that says why it was refused.

    A document of which the index holds a later state counts as written. Raises ClusterError when
    the cluster cannot be reached, stays busy for a minute, refuses us, or takes no writes.
    """
    found: list[Item | None] = [None] * len(actions)
    places = list(range(len(actions)))
    attempt = 0
    while places:
        chosen = [actions[place] for place in places]
        again: list[int] = []
        start = 0
        while start < len(chosen):
            end = pace.cut(chosen, start)
            items = _send(client, path, chosen[start:end], pace)
            if items is None:  # too large as a whole, and the pace is slower now
                continue
            for place, item in zip(places[start:end], items, strict=True):
                if item is None or item.status < 300 or item.status == NEWER:
                    continue
                if _is_busy(client, path, item):
                    again.append(place)
                found[place] = item
            start = end
        if again:
            if attempt == len(PAUSES):
                item = found[again[0]]
                assert item is not None
                raise ClusterError(
                    f"{client.where} refused {len(again):,} documents for a minute "
                    f"({item.kind}: {item.reason}). It is too busy: try again later.",
                    item.status,
                    item.kind,
                )
            pace.refused()
            wait(attempt)
            attempt += 1
            for place in again:
                found[place] = None
        places = again
    return found


def _is_busy(client: SearchClient, path: str, item: Item) -> bool:
    """Whether the item is to be sent again. Raises ClusterError where the index takes no writes."""
    if item.kind in BLOCKS or item.kind == "index_not_found_exception":
        gone = " Somebody has deleted it: run the command again."
        mend = BLOCKED if item.kind in BLOCKS else gone
        raise ClusterError(
            f"{client.where} answered POST {path} with {item.status}: {item.reason}.{mend}",
            item.status,
            item.kind,
        )
    return item.status in (429, 503)


def _send(
    client: SearchClient, path: str, actions: Sequence[Action], pace: Pace
) -> Sequence[Item | None] | None:
    """Send one request; None when it has to be cut into smaller ones."""
    lines: list[bytes] = []
    for action in actions:
        lines += (action.head, action.body) if action.body is not None else (action.head,)
    lines.append(b"")
    body = b"\n".join(lines)

    def post() -> bytes | None:
        answer = client.send("POST", path, body, content_type=NDJSON)
        if answer.status == 413 and len(actions) == 1:
            return None
        if not 200 <= answer.status < 300:
            raise refusal(client.where, f"POST {path}", answer)
        return answer.body

    try:
        data = patiently(post, pace.refused)
    except ClusterError as error:
        if error.status == 413:
            pace.refused()
            return None
        raise
    if data is None:
        reason = f"with {len(body):,} bytes it is larger than the cluster takes in one request"
        return [Item(413, error=Error("document_too_large", f"{reason} (http.max_content_length)"))]
    answer = _ANSWER.decode(data)
    pace.taken()
    if not answer.errors:
        return [None] * len(actions)
    return [item for entry in _ITEMS.decode(answer.items) for item in entry.values()]


def send_stream(
    client: SearchClient, actions: Iterable[tuple[dict[str, Any], str]], *, chunk_size: int
) -> Iterator[tuple[bool, dict[str, Any]]]:
    """Stream `(action, source as JSON)` to `_bulk`; yield `(ok, item)` for each, in order.

    Items refused with 429 are sent again with growing pauses. Raises ClusterError when the cluster
    cannot be reached or refuses a whole request.
    """
    pace = Pace(documents=chunk_size)
    stream = (Action(orjson.dumps(head), body.encode()) for head, body in actions)
    while chunk := list(itertools.islice(stream, chunk_size)):
        for item in send_actions(client, "/_bulk", chunk, pace):
            yield item is None, {} if item is None else msgspec.to_builtins(item)
