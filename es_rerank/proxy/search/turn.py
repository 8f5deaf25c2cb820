"""One search among several: its plan, its part of the answer, and what the headers say of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from es_rerank.proxy.answer import Header, shape_error
from es_rerank.proxy.search.handler import MARK
from es_rerank.proxy.search.ndjson import Item
from es_rerank.proxy.search.plan import LeftAlone, Plan
from es_rerank.proxy.search.request import RAW_LIST, RAW_OBJECT, UNREADABLE

ITEMS_MARK = b"x-es-rerank-items"
LONGEST_MARK = 4000
"""Bytes of X-Es-Rerank-Items at most: servers and clients refuse headers beyond 8 kB or so."""
OUTCOMES = ("applied", "fallback", "skipped", "error")
"""What can become of a search; the first that occurs stands for the whole request."""


@dataclass
class Turn:
    """One search of the request, from its plan to its part of the answer.

    own: the search in the client's own words, without our block. response: raw, empty until there
    is one.
    """

    item: Item
    plan: Plan | LeftAlone
    own: bytes
    response: bytes = b""
    outcome: str = "skipped"
    reason: str | None = None
    stages: dict[str, float] = field(default_factory=dict)
    scored: str | None = None

    @property
    def asked(self) -> bytes:
        """The search as the cluster is asked for it."""
        if isinstance(self.plan, LeftAlone):
            return self.own
        return msgspec.json.encode(self.plan.widened().body)

    @property
    def status(self) -> int:
        """The status within the response."""
        try:
            found = msgspec.json.decode(RAW_OBJECT.decode(self.response).get("status", b"200"))
        except UNREADABLE:
            return 200
        return found if isinstance(found, int) else 200

    def fail(self, status: int, kind: str, reason: str) -> None:
        """Answer this search with an error of its own."""
        self.response = msgspec.json.encode(shape_error(status, kind, reason))
        self.outcome, self.reason = "error", None

    def fall_back(self, reason: str) -> None:
        """The engine's order goes back although ranking was wanted."""
        self.outcome, self.reason = "fallback", reason


def read_responses(body: bytes, count: int) -> list[bytes] | None:
    """The parts of an answer, raw; None when they are not as many as were asked for."""
    try:
        responses = RAW_LIST.decode(RAW_OBJECT.decode(body)["responses"])
    except (*UNREADABLE, KeyError):
        return None
    return [bytes(part) for part in responses] if len(responses) == count else None


def write_responses(
    envelope: dict[str, msgspec.Raw], turns: Sequence[Turn], added_ms: int, pretty: bool
) -> bytes:
    """Put the answer together; what else the cluster's envelope holds stays."""
    whole = dict(envelope)
    whole["responses"] = msgspec.Raw(b"[" + b",".join(turn.response for turn in turns) + b"]")
    if "took" in whole and added_ms:
        whole["took"] = msgspec.Raw(str(int(bytes(whole["took"])) + added_ms).encode())
    written = msgspec.json.encode(whole)
    return msgspec.json.format(written, indent=2) + b"\n" if pretty else written


def summarise(turns: Sequence[Turn]) -> str:
    """The outcome that stands for the whole request."""
    return next((name for name in OUTCOMES if any(t.outcome == name for t in turns)), "skipped")


def write_marks(turns: Sequence[Turn]) -> list[Header]:
    """X-Es-Rerank with the sums, X-Es-Rerank-Items with each search's own where it is not long."""
    counts = Counter(turn.outcome for turn in turns)
    sums = [f"{name}={counts[name]}" for name in OUTCOMES if counts[name]]
    marks = [(MARK, "; ".join([summarise(turns), f"items={len(turns)}", *sums]).encode())]
    each = ", ".join(map(write_mark, turns)).encode()
    if len(each) <= LONGEST_MARK:
        marks.append((ITEMS_MARK, each))
    return marks


def write_mark(turn: Turn) -> str:
    """One search's entry in X-Es-Rerank-Items."""
    reason = f";reason={turn.reason.replace(',', '+')}" if turn.reason else ""
    return turn.outcome + reason + (f";scored={turn.scored}" if turn.scored else "")


def join_stages(turns: Sequence[Turn]) -> dict[str, float]:
    """Seconds by stage: the cluster and the model answer for all at once, the rest adds up."""
    stages: dict[str, float] = {}
    for turn in turns:
        for name, seconds in turn.stages.items():
            before = stages.get(name, 0.0)
            stages[name] = before + seconds if name == "diversify" else max(before, seconds)
    return stages
