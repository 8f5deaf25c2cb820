"""Review on real engines: what waits is not found, what people decide stays and is logged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3

from es_rerank.cluster.client import SearchClient
from es_rerank.enrich.review import ReviewLog, sender
from es_rerank.review.asking import ChangedError, Steps, carry_out
from es_rerank.review.decide import decide
from es_rerank.review.log import read_log
from tests.live.conftest import Reindex
from tests.live.test_reindex_texts import fill
from tests.live.test_reindex_trouble import numbers
from tests.models.writer.chat_server import ChatServer, serving
from tests.proxy.wire import ask, find, proxy_settings, serve_app

RECIPE = """\
text_fields = ["title", "description"]
attribute_fields = ["brand"]

[[text]]
form = "advert"
backend = "shop"

[generators.shop]
kind = "endpoint"
model = "{model}"
url = "{url}"
"""
WRONG = "A zebra of 999 g."


def write(body: dict[str, Any]) -> str:
    """Wrong of every second product."""
    title = body["messages"][1]["content"].partition("Title: ")[2].splitlines()[0]
    return WRONG if int(title.split()[-1]) % 2 else f"{title} by {body['model'].title()}"[:13]


@pytest.fixture
def log_index(
    client: SearchClient, index_name: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    name = f"{index_name}-log"
    monkeypatch.setenv("ES_RERANK_REVIEW__INDEX", name)
    yield name


@pytest.fixture
def shop(
    client: SearchClient, reindex: Reindex, index_name: str, log_index: str, tmp_path: Path
) -> Iterator[Callable[..., Any]]:
    """Reindex with an endpoint whose model has that name."""
    fill(client, index_name, 6)
    with serving(ChatServer(write)) as server:

        def run(model: str = "m", *more: str) -> Any:
            recipe = tmp_path / "recipe.toml"
            recipe.write_text(RECIPE.format(model=model, url=server.url))
            arguments = (index_name, f"{index_name}-er", "--yes", "--json")
            done = reindex(*arguments, "--recipe", str(recipe), *more)
            assert done.code == 0, done.err
            return done.json

        yield run


def review(command: Reindex, client: SearchClient, *arguments: str) -> Any:
    done = command("review", *arguments, "--url", client.url, "--json")
    assert done.code == 0, done.err
    return done.json


def found(client: SearchClient, alias: str, words: str) -> int:
    query = {"query": {"query_string": {"query": words, "fields": ["*"], "lenient": True}}}
    return int(client.request("POST", f"/{alias}/_count", query)["count"])


def test_from_waiting_to_shown_and_through_the_next_runs(
    client: SearchClient,
    command: Reindex,
    shop: Callable[..., Any],
    index_name: str,
    log_index: str,
) -> None:
    alias = f"{index_name}-er"
    shop()
    waiting = review(command, client, "list", alias)["texts"]
    assert sorted(text["document"] for text in waiting) == ["1", "3", "5"]
    assert waiting[0]["text"] == WRONG
    assert "number: 999 g is not in the source" in waiting[0]["reasons"]
    assert found(client, alias, "zebra") == 0  # what waits is found by nobody
    versions = {key: doc["_version"] for key, doc in documents(client, alias).items()}
    shown = review(command, client, "approve", alias, "1", "advert", "--by", "ann")
    assert (shown["state"], shown["shown"], shown["by"]) == ("approved", True, "ann")
    assert found(client, alias, "zebra") == 1
    edited = ("edit", alias, "3", "advert", "--text", "A fine striped shoe.", "--by", "bob")
    assert review(command, client, *edited)["state"] == "edited"
    assert review(command, client, "reject", alias, "5", "advert", "--by", "bob")["shown"] is False
    assert review(command, client, "list", alias)["texts"] == []
    assert found(client, alias, "striped") == 1
    # Versions still tell the source's state, so that a later one is not refused.
    assert {key: doc["_version"] for key, doc in documents(client, alias).items()} == versions
    # The same again: all is taken over.
    again = shop()
    assert (again["index"], again["enriched"]) == (f"{alias}-000002", 0)
    assert (found(client, alias, "zebra"), found(client, alias, "striped")) == (1, 1)
    # Another model writes anew; what people decided of the same source stays.
    assert shop("other", "--restart")["enriched"] == 6
    own = {key: doc["es_rerank"] for key, doc in numbers(client, alias).items()}
    assert own["1"]["text"]["advert"] == WRONG
    assert own["3"]["text"]["advert"] == "A fine striped shoe."
    assert own["3"]["provenance"]["text-advert"]["by"] == "bob"
    assert "text" not in own["5"]
    assert own["5"]["provenance"]["text-advert"]["review"] == "rejected"
    # Another source: it is another text.
    source = {"title": "Trail shoe model 3", "description": "Now of wool.", "brand": "Acme"}
    client.request("PUT", f"/{index_name}/_doc/3?refresh=true", source)
    shop("other")
    (waits,) = review(command, client, "list", alias)["texts"]
    assert (waits["document"], waits["text"]) == ("3", WRONG)
    logged = review(command, client, "log", alias)["decisions"]
    assert [(e["document"], e["decision"], e["who"], e["via"]) for e in logged] == [
        ("1", "approved", "ann", "command line"),
        ("3", "edited", "bob", "command line"),
        ("5", "rejected", "bob", "command line"),
    ]
    assert logged[1]["before"] == {"text": WRONG, "review": "waiting", "shown": False}
    assert logged[1]["after"]["text"] == "A fine striped shoe."
    assert all(entry["when"] and entry["source_hash"] for entry in logged)
    shown = command("review", "show", alias, "1", "--url", client.url)
    assert "approved by ann" in shown.out
    assert "A light shoe for the trail" in shown.out
    missing = command("review", "approve", alias, "1", "label", "--url", client.url)
    assert (missing.code, "it has: advert" in missing.err) == (1, True)


def documents(client: SearchClient, alias: str) -> dict[str, Any]:
    body = {"size": 100, "version": True}
    url = f"{client.url}/{alias}/_search"
    answer = urllib3.request("POST", url, json=body).json()
    return {hit["_id"]: hit for hit in answer["hits"]["hits"]}


def test_who_comes_second_is_told(
    client: SearchClient, shop: Callable[..., Any], index_name: str, log_index: str
) -> None:
    alias = f"{index_name}-er"
    shop()
    send = sender(client)

    def approve(who: str) -> Steps[Any]:
        return decide(log_index, alias, "1", "advert", "approved", who=who, via="test")

    # One stops where the log is written; the other overtakes.
    slow = approve("slow")
    asked = next(slow)
    while "_create" not in asked.path:
        asked = slow.send(send(asked))
    carry_out(approve("quick"), send)
    with pytest.raises(ChangedError, match="somebody else"):
        slow.send(send(asked))
    assert [entry.who for entry in carry_out(read_log(log_index, alias), send)] == ["quick"]
    with pytest.raises(ChangedError, match="has changed"):
        carry_out(
            decide(log_index, alias, "3", "advert", "approved", who="x", via="t", seen="0"), send
        )


def test_what_was_logged_and_not_written_is_done_later(
    client: SearchClient, shop: Callable[..., Any], index_name: str, log_index: str
) -> None:
    """Killed between log and document; or decided while the next version was made."""
    alias = f"{index_name}-er"
    shop()
    send = sender(client)
    steps = decide(log_index, alias, "1", "advert", "approved", who="ann", via="test")
    asked = next(steps)
    while "_create" not in asked.path:
        asked = steps.send(send(asked))
    send(asked)  # and dies
    assert found(client, alias, "zebra") == 0
    log = ReviewLog(client, log_index, alias)
    assert log.carry_over("2020-01-01T00:00:00Z") == 1
    assert found(client, alias, "zebra") == 1
    assert log.carry_over("2020-01-01T00:00:00Z") == 0
    (entry, none) = log.find("text-advert", [("1", None), ("2", None)])
    assert (entry is not None and entry.who, none) == ("ann", None)


def test_the_page(
    client: SearchClient, shop: Callable[..., Any], index_name: str, log_index: str
) -> None:
    alias = f"{index_name}-er"
    shop()
    settings = proxy_settings(client.url)
    kept = settings.review.model_copy(update={"index": log_index})
    with serve_app(settings.model_copy(update={"review": kept})) as (proxy, _):
        page = f"/_es_rerank/review?index={alias}"
        status, head, body = ask(proxy, f"GET {page}".encode())
        text = body.decode()
        assert status == 200
        assert text.count("<article>") == 3
        cookie = find(head, "set-cookie")[0].partition(";")[0]
        hidden = dict.fromkeys(["index", "document", "routing", "form", "seen", "token", "state"])
        article = next(part for part in text.split("<article>") if "advert of 1:" in part)
        for name in hidden:
            hidden[name] = article.partition(f'name="{name}" value="')[2].partition('"')[0]
        sent = {**hidden, "who": "ann", "decision": "edited", "text": "A <b>&amp; striped shoe"}
        headers = (
            f"cookie: {cookie}".encode(),
            b"content-type: application/x-www-form-urlencoded",
        )
        form = urlencode(sent).encode()
        status, head, _ = ask(proxy, b"POST /_es_rerank/review", *headers, body=form)
        assert status == 303
        (location,) = find(head, "location")
        status, _, body = ask(proxy, f"GET {location}".encode())
        assert b"advert of 1: edited." in body
        assert body.decode().count("<article>") == 2
        status, _, body = ask(proxy, b"POST /_es_rerank/review", *headers, body=form)
        assert (status, b"has changed since" in body) == (409, True)
        status, _, body = ask(proxy, f"GET {page}&state=edited".encode())
        assert b"A &lt;b&gt;&amp;amp; striped shoe" in body
        assert ask(proxy, b"GET /_es_rerank/review?index=not-there")[0] == 404
    own = numbers(client, alias)["1"]["es_rerank"]
    assert own["text"]["advert"] == "A <b>&amp; striped shoe"
    (entry,) = carry_out(read_log(log_index, alias), sender(client))
    assert (entry.who, entry.via, entry.decision) == ("ann", "page", "edited")
    assert json.dumps(entry.before)
