"""Find texts that wait, decide on one, and do again what the log says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from es_rerank.review.asking import ChangedError, GoneError, ReviewError, Steps, ask
from es_rerank.review.document import Got, Item, Text, read_items, step_of, write_decided
from es_rerank.review.log import Decision, Entry, append, create_log, find_last, make_key, read_log

WAITING = "waiting"
STATES = (WAITING, "approved", "edited", "rejected", "flagged", "blocked", "passed")
ATTEMPTS = 5
MOST_CHARS = 5000
NOT_SHOWN = {"excludes": ["es_rerank.vector", "es_rerank.code"]}
_GOT = msgspec.json.Decoder(Got)


class Hit(msgspec.Struct):
    """A hit, as bytes."""

    hits: list[Got]


class Found(msgspec.Struct):
    """A search's answer."""

    hits: Hit


_FOUND = msgspec.json.Decoder(Found)


def list_items(alias: str, state: str = WAITING, size: int = 50) -> Steps[list[Item]]:
    """Texts in a state, of at most `size` documents. Raises GoneError when there is no such index.

    state: waiting, approved, edited or rejected; or flagged, blocked or passed, which is what the
    check found.
    """
    name = "outcome" if state in {"flagged", "blocked", "passed"} else "review"
    fields = [f"es_rerank.provenance.{step}.{name}" for step in ("text-*", "summary")]
    body = {
        "size": size,
        "query": {"multi_match": {"query": state, "fields": fields, "lenient": True}},
        "sort": ["_doc"],
        "_source": NOT_SHOWN,
    }
    reply = yield ask("POST", alias, "_search", body=body, allow=(404,))
    if reply.status == 404:
        raise GoneError(f"there is no index or alias {alias}")
    found = [item for got in _FOUND.decode(reply.body).hits.hits for item in read_items(got)]
    return [item for item in found if state in {item.state, item.outcome}]


def show_items(alias: str, document: str, routing: str | None = None) -> Steps[list[Item]]:
    """All generated texts of a document. Raises GoneError."""
    got = yield from _get(alias, document, routing)
    return read_items(got)


def decide(
    log: str,
    alias: str,
    document: str,
    form: str,
    decision: Decision,
    *,
    who: str,
    via: str,
    routing: str | None = None,
    text: Text | None = None,
    seen: str | None = None,
) -> Steps[Item]:
    """Approve, reject or edit a text: into the log, then into the document. Returns it as it is.

    text: the new one of an edit. seen: Item.seen of what was looked at; None decides on whatever
    is there. Raises GoneError, ChangedError, or ReviewError when it cannot be.
    """
    if not who.strip():
        raise ReviewError("say who decides: the log names everybody")
    step = step_of(form)
    got = yield from _get(alias, document, routing)
    item = find_item(read_items(got), step, document)
    if seen is not None and seen != item.seen:
        raise ChangedError("the text has changed since you looked at it: look again")
    after = choose_text(item, decision, text)
    key = make_key(alias, document, routing, step)
    logged = yield from find_last(log, [key])
    if logged is None:
        yield from create_log(log)
    last = (logged or {}).get(key)
    entry = Entry(
        key=key,
        number=1 if last is None else last.number + 1,
        alias=alias,
        index=got.index,
        document=document,
        routing=routing,
        step=step,
        decision=decision,
        who=who.strip()[:200],
        via=via,
        when=datetime.now(UTC).isoformat(timespec="milliseconds"),
        source_hash=str(item.origin.get("source_hash", "")),
        recipe=str(item.origin.get("recipe", "")),
        reasons=item.reasons,
        before={"text": item.text, "review": item.state, "shown": item.is_shown},
        after={"text": after, "review": decision, "shown": after is not None},
    )
    yield from append(log, entry)
    yield from apply(alias, entry)
    got = yield from _get(alias, document, routing)
    return find_item(read_items(got), step, document)


def choose_text(item: Item, decision: Decision, text: Text | None) -> Text | None:
    """The text that is shown after a decision. Raises ReviewError when there is none to show."""
    if decision == "rejected":
        return None
    if decision == "approved":
        if item.text is None:
            raise ReviewError("the text was blocked and is not kept: write another (edit)")
        return item.text
    edited = tidy_text(text, as_list=isinstance(item.text, list))
    if not edited:
        raise ReviewError("the edited text is empty: write one, or reject the text")
    return edited


def tidy_text(text: Text | None, *, as_list: bool) -> Text | None:
    """A person's text, without what nobody typed; a list has a line for each item."""
    lines = text if isinstance(text, list) else (text or "").splitlines()
    kept = [" ".join(line.split()) for line in lines]
    kept = ["".join(char for char in line if char.isprintable()) for line in kept if line]
    if sum(map(len, kept)) > MOST_CHARS:
        raise ReviewError(f"a text has at most {MOST_CHARS} characters")
    return kept if as_list else " ".join(kept)


def apply(alias: str, entry: Entry) -> Steps[bool]:
    """Write what an entry says into the document, where it is still made of the same source.

    The document's version stays, since it tells which state of the source it is of. Returns
    whether anything was written.
    """
    for _ in range(ATTEMPTS):
        try:
            got = yield from _get(alias, entry.document, entry.routing)
        except GoneError:
            return False
        found = [item for item in read_items(got) if item.step == entry.step]
        if not found or found[0].origin.get("source_hash") != entry.source_hash:
            return False
        (item,) = found
        if (item.state, item.text if item.is_shown else None) == (entry.decision, entry.text):
            return False
        draft = (item.text or entry.before.get("text")) if entry.text is None else None
        told = {"review": entry.decision, "by": entry.who, "decided": entry.when}
        reply = yield ask(
            "PUT",
            got.index,
            "_doc",
            entry.document,
            body=write_decided(got, entry.step, entry.text, draft, told),
            allow=(409,),
            routing=entry.routing,
            version=got.version,
            version_type="external_gte",
            pipeline="_none",
            refresh="true",
        )
        if reply.status != 409:
            return True
    raise ChangedError(
        "the document is written to again and again: the log has the decision, and the next "
        "reindex carries it out"
    )


def apply_log(log: str, alias: str, since: str | None = None) -> Steps[int]:
    """Do again what the log says and documents do not show; return how many were written."""
    last = {entry.key: entry for entry in (yield from read_log(log, alias, since=since))}
    written = 0
    for entry in last.values():
        written += yield from apply(alias, entry)
    return written


def find_decisions(
    log: str, alias: str, step: str, documents: Sequence[tuple[str, str | None]]
) -> Steps[list[Entry | None]]:
    """The last decision on a step's text of each document (id, routing), None where none was."""
    keys = [make_key(alias, document, routing, step) for document, routing in documents]
    found = (yield from find_last(log, keys)) or {}
    return [found.get(key) for key in keys]


def find_item(items: Sequence[Item], step: str, document: str) -> Item:
    """The item of a step. Raises GoneError that names those there are."""
    found = next((item for item in items if item.step == step), None)
    if found is None:
        known = ", ".join(item.form for item in items) or "none"
        form = step.removeprefix("text-")
        raise GoneError(f"document {document} has no generated text {form!r}; it has: {known}")
    return found


def _get(alias: str, document: str, routing: str | None) -> Steps[Got]:
    reply = yield ask("GET", alias, "_doc", document, allow=(404,), routing=routing)
    if reply.status == 404:
        raise GoneError(f"there is no document {document} in {alias}")
    return _GOT.decode(reply.body)
