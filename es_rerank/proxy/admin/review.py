"""The page on which people decide on generated texts: plain HTML, no scripts, nothing from afar.

A decision is a form's `POST`. That no other site sends one in a visitor's name is seen to twice:
the browser says where the form came from (`Sec-Fetch-Site`, `Origin`), and the form repeats a
cookie that is sent along from here alone (`SameSite=Strict`; OWASP, double submit).
"""

from __future__ import annotations

import json
import re
import secrets
from base64 import b64decode
from collections.abc import Iterable, Mapping
from html import escape
from http.cookies import CookieError, SimpleCookie
from typing import get_args
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from es_rerank.proxy.admin.door import Visitor
from es_rerank.proxy.answer import Header, Receive, Scope, Send, find_header, send_answer
from es_rerank.proxy.relay import read_body, send_upstream_error
from es_rerank.proxy.upstream import (
    Answer,
    AnswerTooLargeError,
    Upstream,
    UpstreamError,
    principal,
)
from es_rerank.review.asking import (
    Ask,
    ChangedError,
    GoneError,
    Reply,
    ReviewError,
    carry_out_async,
)
from es_rerank.review.decide import STATES, WAITING, decide, list_items
from es_rerank.review.document import Item
from es_rerank.review.log import Decision

PATH = "/_es_rerank/review"
COOKIE = "es_rerank_review"
TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
INDEX = re.compile(r"[^\s_.,*?\"<>|/\\#+-][^\s,*?\"<>|/\\#]{0,254}")
SIZE = 25
MAX_BODY_BYTES = 262_144
MAX_ANSWER_BYTES = 20_000_000
SHOWN_CHARS = 4000
JSON = (b"content-type", b"application/json")
PASSED_ON = (b"content-type", b"www-authenticate", b"x-elastic-product", b"warning")
HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
        b"frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
STYLE = """\
body{font:16px/1.4 system-ui,sans-serif;max-width:60rem;margin:1rem auto;padding:0 1rem}
article{border:1px solid #bbb;border-radius:4px;padding:.5rem 1rem;margin:1rem 0}
h2{font-size:1rem;margin:.3rem 0}textarea{width:100%;font:inherit;box-sizing:border-box}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f4f4f4;padding:.5rem}
li{color:#a00}.said{background:#ffd;padding:.5rem}button,input,select{font:inherit}
"""


class ClusterSaidError(Exception):
    """The cluster refused; `answer` is what it said."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"the cluster answered {answer.status}")
        self.answer = answer


class RefusedError(Exception):
    """A request that is not carried out."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class ReviewPage:
    """Answers `/_es_rerank/review`. log: the index of decisions."""

    def __init__(self, upstream: Upstream, log: str) -> None:
        self._upstream = upstream
        self._log = log

    async def answer(self, scope: Scope, receive: Receive, send: Send, visitor: Visitor) -> str:
        """Show the page, or carry a decision out. Returns the outcome.

        The cluster is asked with the caller's own credentials, so that its rules hold; those who
        showed the token and no credentials borrow the proxy's.
        """
        credentials = list(principal(visitor.headers))
        if not credentials and visitor.trusted:
            credentials = self._upstream.own_credentials()
        try:
            if scope["method"] == "POST":
                return await self._post(scope, receive, send, credentials)
            shown = dict(parse_qsl(scope["query_string"].decode("latin-1")))
            return await self._show(scope, send, credentials, shown)
        except RefusedError as error:
            await self._send_page(scope, send, error.status, {}, [], error.reason)
        except ClusterSaidError as error:
            headers = [(k, v) for k, v in error.answer.headers if k.lower() in PASSED_ON]
            await send_answer(send, error.answer.status, error.answer.body, headers)
        except AnswerTooLargeError:
            await self._send_page(scope, send, 500, {}, [], "The documents are too large to show.")
        except (msgspec.DecodeError, LookupError):
            said = "What the cluster answered cannot be read."
            await self._send_page(scope, send, 502, {}, [], said)
        except UpstreamError as error:
            await send_upstream_error(send, self._upstream, error)
        return "error"

    async def _show(
        self,
        scope: Scope,
        send: Send,
        credentials: list[Header],
        shown: Mapping[str, str],
        status: int = 200,
        said: str = "",
    ) -> str:
        items: list[Item] = []
        index, state = shown.get("index", ""), shown.get("state", WAITING)
        if index:
            try:
                check_names(index, state)
                steps = list_items(index, state, SIZE)
                items = await carry_out_async(steps, lambda ask: self._ask(ask, credentials))
            except (GoneError, RefusedError) as error:
                status = 404 if isinstance(error, GoneError) else error.status
                said = said or str(error)
        await self._send_page(scope, send, status, shown, items, said or shown.get("said", ""))
        return "ok" if status < 400 else "error"

    async def _post(
        self, scope: Scope, receive: Receive, send: Send, credentials: list[Header]
    ) -> str:
        given = await read_form(scope, receive)
        check_origin(scope["headers"])
        cookie = read_cookie(scope["headers"])
        if cookie is None or not secrets.compare_digest(cookie, given.get("token", "")):
            raise RefusedError(403, "This form is not from here, or too old: load the page again.")
        check_names(given.get("index", ""), given.get("state", WAITING))
        decision = next((d for d in get_args(Decision) if d == given.get("decision")), None)
        if decision is None:
            raise RefusedError(400, "Approve, reject or edit: there is no other decision.")
        who = read_user(scope["headers"]) or given.get("who", "")
        if not who.strip():
            raise RefusedError(400, "Say who decides: the log names everybody.")
        steps = decide(
            self._log,
            given["index"],
            given.get("document", ""),
            given.get("form", ""),
            decision,
            who=who,
            via="page",
            routing=given.get("routing") or None,
            text=given.get("text"),
            seen=given.get("seen", ""),
        )
        try:
            item = await carry_out_async(steps, lambda ask: self._ask(ask, credentials))
        except ReviewError as error:
            status = {GoneError: 404, ChangedError: 409}.get(type(error), 400)
            return await self._show(scope, send, credentials, given, status, f"{error}.")
        shown = {key: given.get(key, "") for key in ("index", "state", "who")}
        where = urlencode({**shown, "said": f"{item.form} of {item.id}: {item.state}."})
        location = (b"location", f"{PATH}?{where}".encode())
        await send_answer(send, 303, b"", [location, (b"cache-control", b"no-store")])
        return "ok"

    async def _ask(self, ask: Ask, credentials: Iterable[Header]) -> Reply:
        headers = [*credentials, *([JSON] if ask.body is not None else [])]
        answer = await self._upstream.ask(
            ask.method,
            ask.path.encode(),
            headers,
            ask.body,
            MAX_ANSWER_BYTES,
            repeatable=ask.method == "GET" or ask.path.endswith("/_search"),
        )
        if not 200 <= answer.status < 300 and answer.status not in ask.allow:
            raise ClusterSaidError(answer)
        return Reply(answer.status, answer.body)

    async def _send_page(
        self,
        scope: Scope,
        send: Send,
        status: int,
        shown: Mapping[str, str],
        items: Iterable[Item],
        said: str,
    ) -> None:
        cookie = read_cookie(scope["headers"]) or secrets.token_urlsafe(24)
        user = read_user(scope["headers"])
        body = write_page(shown, list(items), said, cookie, user).encode("utf-8", "replace")
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        told = f"{COOKIE}={cookie}; Path={PATH}; HttpOnly; SameSite=Strict{secure}"
        await send_answer(send, status, body, [*HEADERS, (b"set-cookie", told.encode())])


def check_names(index: str, state: str) -> None:
    """Raises RefusedError for what is no index's name, or no state."""
    if not INDEX.fullmatch(index):
        raise RefusedError(400, "Name one index or alias.")
    if state not in STATES:
        raise RefusedError(400, f"There is no state {state}.")


def check_origin(headers: Iterable[Header]) -> None:
    """Raises RefusedError when the browser says that the form came from another site."""
    headers = list(headers)
    site = find_header(headers, b"sec-fetch-site")
    origin = find_header(headers, b"origin").decode("latin-1")
    host = find_header(headers, b"host").decode("latin-1")
    foreign = bool(origin) and urlsplit(origin).netloc.lower() != host.lower()
    if site not in {b"", b"same-origin", b"none"} or (foreign and not site):
        raise RefusedError(403, "This form came from another site.")


async def read_form(scope: Scope, receive: Receive) -> dict[str, str]:
    """The form's fields. Raises RefusedError for what is no form, or too large."""
    kind = find_header(scope["headers"], b"content-type").partition(b";")[0].strip().lower()
    if kind != b"application/x-www-form-urlencoded":
        raise RefusedError(415, "It takes an HTML form.")
    raw, rest = await read_body(receive, MAX_BODY_BYTES)
    if rest is not None:
        raise RefusedError(413, f"A form has at most {MAX_BODY_BYTES} bytes.")
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise RefusedError(400, "The form cannot be read.") from None
    return dict(pairs)


def read_cookie(headers: Iterable[Header]) -> str | None:
    """Our cookie; None where there is none that we could have set."""
    try:
        cookies = SimpleCookie(find_header(headers, b"cookie").decode("latin-1"))
    except CookieError:
        return None
    value = cookies[COOKIE].value if COOKIE in cookies else ""
    return value if TOKEN.fullmatch(value) else None


def read_user(headers: Iterable[Header]) -> str | None:
    """The user's name in Basic credentials (RFC 7617)."""
    kind, _, value = find_header(headers, b"authorization").partition(b" ")
    if kind.lower() != b"basic":
        return None
    try:
        return b64decode(value.strip(), validate=True).decode().partition(":")[0] or None
    except ValueError:
        return None


def write_page(
    shown: Mapping[str, str], items: list[Item], said: str, token: str, user: str | None
) -> str:
    """The page. Everything that is not written here is escaped."""
    index, state = shown.get("index", ""), shown.get("state", WAITING)
    choices = "".join(
        f"<option{' selected' if name == state else ''}>{name}</option>" for name in STATES
    )
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>es-rerank: review</title>',
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>',
        "<h1>Generated texts</h1>",
        f'<p class="said" role="status">{escape(said)}</p>' if said else "",
        f'<form action="{PATH}" method="get"><label>Index or alias ',
        f'<input name="index" value="{escape(index)}" required></label> ',
        f'<label>State <select name="state">{choices}</select></label> ',
        f'<input type="hidden" name="who" value="{escape(shown.get("who", ""))}">',
        "<button>Show</button></form>",
    ]
    if index and not items:
        parts.append(f"<p>There is no text that is {escape(state)}.</p>")
    parts += [write_item(item, shown, token, user) for item in items]
    return "".join(parts)


def write_item(item: Item, shown: Mapping[str, str], token: str, user: str | None) -> str:
    """A text with what it was made of, and the form that decides on it."""
    text = "\n".join(item.text) if isinstance(item.text, list) else item.text or ""
    hidden = {
        "index": shown.get("index", ""),
        "state": shown.get("state", WAITING),
        "document": item.id,
        "routing": item.routing or "",
        "form": item.form,
        "seen": item.seen,
        "token": token,
    }
    fields = "".join(
        f'<input type="hidden" name="{name}" value="{escape(value)}">'
        for name, value in hidden.items()
    )
    who = escape(user or shown.get("who", ""))
    name = (
        f"<p>You are {who}.</p>"
        if user
        else f'<p><label>Your name <input name="who" value="{who}" required></label></p>'
    )
    source = json.dumps(dict(item.source), ensure_ascii=False, indent=1)[:SHOWN_CHARS]
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in item.reasons)
    by = item.origin.get("by")
    decided = f" by {escape(str(by))}, {escape(str(item.origin.get('decided')))}" if by else ""
    approve = '<button name="decision" value="approved">Approve as it was</button> ' if text else ""
    return (
        f"<article><h2>{escape(item.form)} of {escape(item.id)}: {escape(item.state)}{decided}</h2>"
        f'<ul>{reasons}</ul><form action="{PATH}" method="post">{fields}'
        f'<textarea name="text" rows="4" aria-label="text">\n{escape(text)}</textarea>{name}'
        f'<p>{approve}<button name="decision" value="edited">Save my text</button> '
        '<button name="decision" value="rejected">Reject</button></p></form>'
        f"<details><summary>What it was made of</summary><pre>{escape(source)}</pre></details>"
        "</article>"
    )
