"""The review page: everything is escaped, and no other site decides in a visitor's name."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from urllib.parse import urlencode

import pytest
from pydantic import SecretStr

from es_rerank.proxy.admin.review import (
    COOKIE,
    MAX_BODY_BYTES,
    check_origin,
    read_user,
    write_page,
)
from es_rerank.review.document import Item
from tests.proxy.wire import ask, find, proxy_settings, serve_app, upstream

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)></textarea><!--"
TOKEN = "a" * 32
COOKIE_LINE = f"cookie: {COOKIE}={TOKEN}".encode()
FORM = b"content-type: application/x-www-form-urlencoded"
PAGE = b"/_es_rerank/review"


class Reader(HTMLParser):
    """Notes the tags, and what a form would send."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.values: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        told = {name: value or "" for name, value in attrs}
        assert not any(name.startswith("on") for name in told)
        if tag == "input":
            self.values[told["name"]] = told.get("value", "")


def item(**given: object) -> Item:
    shared: dict[str, object] = {
        "id": EVIL,
        "routing": EVIL,
        "index": "i",
        "step": f"text-{EVIL}",
        "state": "waiting",
        "outcome": "flagged",
        "reasons": (EVIL,),
        "text": EVIL,
        "is_shown": False,
        "origin": {"by": EVIL, "decided": EVIL},
        "source": {EVIL: [EVIL]},
    }
    return Item(**{**shared, **given})  # type: ignore[arg-type]


def test_everything_is_escaped() -> None:
    shown = {"index": EVIL, "state": EVIL, "who": EVIL}
    page = write_page(shown, [item(), item(text=[EVIL, "b"])], EVIL, TOKEN, None)
    reader = Reader()
    reader.feed(page)
    assert {"script", "img"}.isdisjoint(reader.tags)
    assert reader.tags.count("textarea") == 2
    assert reader.values["document"] == reader.values["routing"] == EVIL
    assert "<script" not in page
    assert "javascript" not in page


def test_a_blocked_text_can_only_be_written_anew() -> None:
    page = write_page({"index": "i"}, [item(text=None, state="blocked")], "", TOKEN, "ann")
    assert 'value="approved"' not in page
    assert 'value="edited"' in page
    assert "You are ann." in page


def test_the_page_without_an_index_asks_for_one() -> None:
    with upstream() as raw, serve_app(proxy_settings(raw.url)) as (proxy, _):
        status, head, body = ask(proxy, b"GET " + PAGE)
        assert raw.requests == []
    assert status == 200
    assert b'name="index"' in body
    policy = find(head, "content-security-policy")[0]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    (cookie,) = find(head, "set-cookie")
    assert re.fullmatch(
        rf"{COOKIE}=[\w-]{{32}}; Path=/_es_rerank/review; HttpOnly; SameSite=Strict", cookie
    )


def form(**fields: str) -> bytes:
    shared = {"index": "i", "document": "1", "form": "advert", "decision": "approved", "who": "me"}
    return urlencode({**shared, "token": TOKEN, "seen": "x", **fields}).encode()


@pytest.mark.parametrize(
    ("headers", "body", "status", "says"),
    [
        ([FORM], form(), 403, "load the page again"),
        ([FORM, COOKIE_LINE], form(token="b" * 32), 403, "load the page again"),
        ([FORM, COOKIE_LINE], form(token=""), 403, "load the page again"),
        ([FORM, b"cookie: es_rerank_review=x"], form(token="x"), 403, "load the page again"),
        ([FORM, COOKIE_LINE, b"origin: http://evil.example"], form(), 403, "another site"),
        ([FORM, COOKIE_LINE, b"origin: null"], form(), 403, "another site"),
        ([FORM, COOKIE_LINE, b"sec-fetch-site: cross-site"], form(), 403, "another site"),
        ([FORM, COOKIE_LINE, b"sec-fetch-site: same-site"], form(), 403, "another site"),
        ([b"content-type: application/json", COOKIE_LINE], b"{}", 415, "HTML form"),
        ([b"content-type: text/plain", COOKIE_LINE], form(), 415, "HTML form"),
        ([FORM, COOKIE_LINE], form(decision="delete"), 400, "no other decision"),
        ([FORM, COOKIE_LINE], form(index="a,b"), 400, "Name one index"),
        ([FORM, COOKIE_LINE], form(index="_all"), 400, "Name one index"),
        ([FORM, COOKIE_LINE], form(index="../x"), 400, "Name one index"),
        ([FORM, COOKIE_LINE], form(state="x"), 400, "no state"),
        ([FORM, COOKIE_LINE], form(who=" "), 400, "Say who decides"),
        ([FORM, COOKIE_LINE], b"token=" + b"x" * MAX_BODY_BYTES, 413, "at most"),
    ],
)
def test_what_is_refused_before_the_cluster_is_asked(
    headers: list[bytes], body: bytes, status: int, says: str
) -> None:
    with upstream() as raw, serve_app(proxy_settings(raw.url)) as (proxy, _):
        got, _, answered = ask(proxy, b"POST " + PAGE, *headers, body=body)
        assert raw.requests == []
    assert got == status
    assert says in answered.decode()


def test_a_browser_is_asked_for_the_token_by_itself() -> None:
    settings = proxy_settings("http://127.0.0.1:9")
    admin = settings.admin.model_copy(update={"token": SecretStr("hunter2")})
    settings = settings.model_copy(update={"admin": admin})
    with serve_app(settings) as (proxy, _):
        status, head, _ = ask(proxy, b"GET " + PAGE)
        assert status == 401
        assert any(line.startswith("Basic") for line in find(head, "www-authenticate"))
        shown = base64.b64encode(b"ann:hunter2")
        assert ask(proxy, b"GET " + PAGE, b"authorization: Basic " + shown)[0] == 200
        wrong = base64.b64encode(b"ann:hunter3")
        assert ask(proxy, b"GET " + PAGE, b"authorization: Basic " + wrong)[0] == 401


def test_who_it_is_and_where_from() -> None:
    assert read_user([(b"authorization", b"Basic " + base64.b64encode(b"ann:x"))]) == "ann"
    assert read_user([(b"authorization", b"Basic !")]) is None
    assert read_user([(b"authorization", b"Bearer x")]) is None
    check_origin([(b"origin", b"http://h:1"), (b"host", b"h:1")])
    check_origin([(b"sec-fetch-site", b"same-origin"), (b"origin", b"http://p"), (b"host", b"h")])


def test_an_answer_that_is_no_search_engines() -> None:
    with upstream() as raw, serve_app(proxy_settings(raw.url)) as (proxy, _):
        status, _, body = ask(proxy, b"GET " + PAGE + b"?index=i")
    assert (status, b"cannot be read" in body) == (502, True)
