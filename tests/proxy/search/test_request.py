"""Requests: read and rewritten on their raw bytes, and every doubt left to the cluster."""

from __future__ import annotations

import gzip
import json
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.proxy.answer import Header
from es_rerank.proxy.search.additions import Additions, choose_additions, shows_source, widen
from es_rerank.proxy.search.coding import BodyError
from es_rerank.proxy.search.obstacle import find_obstacle
from es_rerank.proxy.search.page import Page, clamp_window, read_page
from es_rerank.proxy.search.query_text import read_query_text
from es_rerank.proxy.search.request import SearchRequest, read_request, write_request

TYPE: Header = (b"content-type", b"application/json")
OURS = {"from", "size", "ext", "fields", "docvalue_fields"}


def read(
    body: bytes | str = b"", query: bytes = b"", headers: list[Header] | None = None
) -> SearchRequest:
    raw = body.encode() if isinstance(body, str) else body
    return read_request(
        "POST", b"/i/_search", query, [TYPE] if headers is None else headers, raw, 10**6
    )


def refused(body: bytes, query: bytes = b"", headers: list[Header] | None = None) -> str:
    with pytest.raises(BodyError) as caught:
        read(body, query, headers)
    return str(caught.value)


def obstacle(
    body: str = "{}", query: bytes = b"", headers: list[Header] | None = None
) -> str | None:
    request = read(body, query, headers)
    return find_obstacle(request, read_page(request), clamp_window(request, 100))


def test_raw_bytes_survive_the_rewriting() -> None:
    body = (
        '{"size": 3, "query" : {"range":{"id":{"gte":123456789012345678901234567890,'
        '"boost":1.0E-5,"lt":1.10}}},"min_score":0.0,"x":"\\u00e9é\\/"}'
    )
    _, _, written = write_request(widen(read(body), 100, Additions(("t",), ("es_rerank.code",))))
    assert written == (
        b'{"size":100,"query":{"range":{"id":{"gte":123456789012345678901234567890,'
        b'"boost":1.0E-5,"lt":1.10}}},"min_score":0.0,"x":"\\u00e9\xc3\xa9\\/","from":0,'
        b'"fields":["t"],"docvalue_fields":["es_rerank.code"]}'
    ).replace(b'"query":{', b'"query":{')


def test_own_fields_stay_first() -> None:
    body = '{"fields":[{"field":"d","format":"yyyy"},"t*"],"docvalue_fields":["p"]}'
    additions = choose_additions(read(body + " "), ["title"], ["brand"], "es_rerank.code")
    assert additions == Additions((), ("es_rerank.code",))
    _, _, written = write_request(widen(read(body), 5, additions))
    assert json.loads(written)["fields"] == [{"field": "d", "format": "yyyy"}, "t*"]
    assert json.loads(written)["docvalue_fields"] == ["p", "es_rerank.code"]


@pytest.mark.parametrize(
    ("body", "query", "added"),
    [
        ("{}", b"", ()),
        ('{"_source":true}', b"", ()),
        ('{"_source":false}', b"", ("title", "brand")),
        ('{"_source":["id"]}', b"", ("title", "brand")),
        ('{"_source":{"excludes":["x"]}}', b"", ("title", "brand")),
        ("{}", b"_source=id", ("title", "brand")),
        ("{}", b"_source_includes=id", ("title", "brand")),
        ("{}", b"%5Fsource=false", ("title", "brand")),
        ('{"_source":false,"fields":["ti*"]}', b"", ("brand",)),
        ('{"_source":false,"fields":[{"field":"brand"}]}', b"", ("title",)),
        ('{"_source":false,"docvalue_fields":["brand"]}', b"", ("title",)),
        ('{"_source":false}', b"docvalue_fields=brand,x", ("title",)),
        ('{"_source":false,"collapse":{"field":"brand"}}', b"", ("title",)),
        ('{"_source":false,"script_fields":{"title":{"script":"1"}}}', b"", ("brand",)),
    ],
)
def test_only_what_is_missing_is_added(body: str, query: bytes, added: tuple[str, ...]) -> None:
    request = read(body, query)
    assert choose_additions(request, ["title"], ["brand"], None).fields == added
    assert shows_source(request) is (body in {"{}", '{"_source":true}'} and not query)


def test_our_block_is_taken_out_and_only_it() -> None:
    request = read('{"ext":{"es_rerank":{"diversity":0.3}},"query":{}}')
    assert (request.block, list(request.body), request.edited) == (
        {"diversity": 0.3},
        ["query"],
        True,
    )
    request = read('{"ext":{"ubi":{"a":1.0},"es_rerank":{},"x":1E5}}')
    assert bytes(request.body["ext"]) == b'{"ubi":{"a":1.0},"x":1E5}'
    assert not read('{"ext":{"ubi":{}}}').edited
    assert read('{"ext":{"es_rerank":null}}').body == {}


@pytest.mark.parametrize(
    "body",
    [
        b"\r",
        b" \n",
        b"[]",
        b"{",
        b'"x"',
        b'{"a":1}{"b":2}',
        b'{"ext":null}',
        b'{"ext":[]}',
        b'{"fields":"title"}',
        b'{"docvalue_fields":{"a":1}}',
        b'{"query":{"match":{"title":"\\ud83d"}}}',
        b'{"query":{"match":{"title":"\xff"}}}',
        b'{"a":1e999}',
        b'{"size":' + b"9" * 5000 + b"}",
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_cannot_be_read_is_the_clusters_to_judge(body: bytes) -> None:
    assert refused(body) == "body"


def test_media_types() -> None:
    for kind in (b"application/cbor", b"application/yaml", b"text/plain", b""):
        assert refused(b"{}", headers=[(b"content-type", kind)]) == "media-type"
    assert refused(b"{}", headers=[]) == "media-type"
    vendored = b"application/vnd.elasticsearch+json; compatible-with=9"
    assert read('{"size":1}', headers=[(b"Content-Type", vendored)]).body


def test_compressed_bodies() -> None:
    packed = gzip.compress(b'{"size":3}')
    coded = [TYPE, (b"Content-Encoding", b"gzip"), (b"content-length", b"99")]
    request = read(packed, headers=coded)
    assert read_page(request) == Page(0, 3)
    _, headers, body = write_request(request)
    assert (headers, body) == ([TYPE], b'{"size":3}')
    assert refused(b"{}", headers=coded) == "encoding"
    assert refused(packed[:-4], headers=coded) == "body-too-large"
    assert refused(packed + packed, headers=coded) == "encoding"
    assert refused(gzip.compress(b" " * 2_000_000), headers=coded) == "body-too-large"
    assert refused(packed, headers=[TYPE, (b"content-encoding", b"zstd")]) == "encoding"


def test_zstd_bodies() -> None:
    headers = [TYPE, (b"content-encoding", b"zstd")]
    packed = zstandard.compress(b'{"size":7}')
    request = read(packed, headers=headers)
    assert request.value("size") == 7
    assert write_request(request)[1:] == ([TYPE], b'{"size":7}')
    for broken in (packed[:-3], packed + b"x", b"no zstd", packed * 2):
        assert refused(broken, headers=headers) == "encoding"
    bomb = zstandard.compress(b" " * 1_000_001)
    assert len(bomb) < 1000
    assert refused(bomb, headers=headers) == "body-too-large"


@pytest.mark.parametrize(
    "body",
    [
        b'{"size":1,"size":2}',
        b'{"query":{"match_all":{}}, "query" : {"match_all":{}}}',
        b'{"ext":{"a":{},"a":{}}}',
        b'{"ext":{"es_rerank":{},"es_rerank":{}}}',
        b'{"s\\u0069ze":1}',
    ],
)
def test_a_key_named_twice_is_the_clusters_to_judge(body: bytes) -> None:
    assert refused(body) == "body"


def test_keys_may_be_named_twice_where_nothing_is_rewritten() -> None:
    body = b'{"query":{"term":{"a":1,"a":2}} ,"size":1}'
    assert write_request(read(body))[2] == b'{"query":{"term":{"a":1,"a":2}},"size":1}'


def test_script_fields_take_the_place_of_the_source() -> None:
    assert not shows_source(read('{"script_fields":{"a":{"script":"1"}}}'))
    assert shows_source(read('{"script_fields":{"a":{"script":"1"}},"_source":true}'))


def test_stored_fields_and_what_the_model_reads() -> None:
    listed = read('{"stored_fields":["title","b*"]}')
    assert choose_additions(listed, ["title", "body", "text"], [], None).fields == ("text",)
    assert not shows_source(listed)
    assert shows_source(read('{"stored_fields":["title","_source"]}'))
    assert shows_source(read('{"stored_fields":"a","_source":true}'))
    for none in (read('{"stored_fields":"_none_"}'), read("{}", b"stored_fields=_none_")):
        additions = choose_additions(none, ["title"], [], "es_rerank.code")
        assert additions.hidden == ("_id", "_routing", "_ignored")
        wide = widen(none, 100, additions)
        assert wide.parameters == ()
        assert {name: bytes(raw) for name, raw in wide.body.items()} == {
            "_source": b"false",
            "from": b"0",
            "size": b"100",
            "fields": b'["title"]',
            "docvalue_fields": b'["es_rerank.code"]',
        }


def test_source_parameter() -> None:
    source = b"source=%7B%22size%22%3A4%7D&source_content_type=application%2Fjson&x=1"
    request = read(b"", source, headers=[])
    assert (read_page(request), request.parameters) == (Page(0, 4), ((b"x", b"1"),))
    target, headers, body = write_request(request)
    assert (target, body) == (b"/i/_search?x=1", b'{"size":4}')
    assert headers == [(b"content-type", b"application/json")]
    assert read_page(read(b'{"size":7}', source)) == Page(0, 7)
    assert refused(b"", b"source=%7B%7D") == "media-type"
    assert refused(b"", b"source=%7B%7D&source_content_type=application/yaml") == "media-type"


@pytest.mark.parametrize(
    ("body", "query", "page"),
    [
        ("", b"", Page(0, 10)),
        ("{}", b"", Page(0, 10)),
        ('{"from":5,"size":20}', b"", Page(5, 20)),
        ('{"from":5,"size":20}', b"size=3", Page(5, 3)),
        ('{"from":5,"size":20}', b"from=1&size=3", Page(1, 3)),
        ("{}", b"size=3&size=4", Page(0, 4)),
        ("{}", b"%73ize=4&fro%6D=2", Page(2, 4)),
        ('{"size":"12"}', b"", Page(0, 12)),
        ('{"size":0}', b"", Page(0, 0)),
        ('{"size":-1}', b"", None),
        ('{"size":"x"}', b"size=5", None),
        ('{"size":1.5}', b"", None),
        ('{"size":true}', b"", None),
        ('{"size":null}', b"", None),
        ('{"size":"1_0"}', b"", None),
        ("{}", b"size=", None),
        ("{}", b"size=abc", None),
        ("{}", b"from=99999999999", None),
    ],
)
def test_pages(body: str, query: bytes, page: Page | None) -> None:
    assert read_page(read(body, query)) == page


@pytest.mark.parametrize(
    ("body", "query", "reason"),
    [
        ("{}", b"", None),
        ('{"size":0}', b"", "size-0"),
        ('{"from":100}', b"", "beyond-window"),
        ('{"from":99}', b"", None),
        ('{"from":9995,"size":10}', b"", "result-window"),
        ('{"size":"x"}', b"", "result-window"),
        ('{"sort":["price"]}', b"", "sort"),
        ('{"sort":[{"_score":"asc"}]}', b"", "sort"),
        ('{"sort":["_score","price"]}', b"", "sort"),
        ('{"sort":"_doc"}', b"", "sort"),
        ('{"sort":[]}', b"", "sort"),
        ('{"sort":["price"]}', b"sort=_score", "sort"),
        ("{}", b"sort=price:asc", "sort"),
        ("{}", b"sort=_score,price", "sort"),
        ("{}", b"sort=_score:desc", None),
        ('{"sort":"_score"}', b"", None),
        ('{"sort":["_score"]}', b"", None),
        ('{"sort":[{"_score":{"order":"desc"}}]}', b"", None),
        ('{"sort":{"_score":{}}}', b"", None),
        ('{"search_after":[1]}', b"", "search_after"),
        ('{"pit":{"id":"x"}}', b"", None),
        ('{"pit":{"id":"x"}}', b"sort=_score", "pit"),
        ('{"pit":{"id":"x"},"sort":"_score"}', b"", "pit"),
        ('{"slice":{"id":0,"max":2}}', b"", "slice"),
        ('{"stored_fields":["a"]}', b"", None),
        ('{"stored_fields":"_none_"}', b"", None),
        ("{}", b"stored_fields=_none_", None),
        ('{"stored_fields":"_none_","_source":true}', b"", "stored_fields"),
        ('{"stored_fields":"_none_","fields":["a"]}', b"", "stored_fields"),
        ('{"stored_fields":"_none_","highlight":{}}', b"", "stored_fields"),
        ('{"stored_fields":["_none_","a"]}', b"", "stored_fields"),
        ('{"stored_fields":{"a":1}}', b"", "stored_fields"),
        ("{}", b"stored_fields=_none_&_source=true", "stored_fields"),
        ("{}", b"scroll=1m", "scroll"),
        ("{}", b"s%63roll=1m", "scroll"),
        ("{}", b"filter_path=hits.hits._id", None),
        ("{}", b"filter_path=hits.", "filter_path"),
        ("{}", b"format=yaml", "media-type"),
        ("{}", b"format=json", None),
        ('{"ext":{"rerank":{}}}', b"search_pipeline=p", "search_pipeline"),
        ('{"ext":{"rerank":{}},"search_pipeline":"p"}', b"", "search_pipeline"),
        ('{"rescore":{"window_size":"x","query":{}}}', b"", "result-window"),
        ('{"rescore":{"window_size":20,"query":{}},"from":20}', b"", "beyond-window"),
        (
            '{"rescore":[{"query":{}},{"window_size":50,"query":{}}],"from":10}',
            b"",
            "beyond-window",
        ),
        ('{"query":[]}', b"", None),
        ('{"aggs":{},"highlight":{},"collapse":{"field":"b"},"profile":true}', b"", None),
    ],
)
def test_obstacles(body: str, query: bytes, reason: str | None) -> None:
    assert obstacle(body, query) == reason


@pytest.mark.parametrize(
    ("accept", "reason"),
    [
        (b"application/json", None),
        (b"*/*", None),
        (b"application/vnd.elasticsearch+json;compatible-with=9", None),
        (b"application/yaml", "media-type"),
        (b"application/cbor", "media-type"),
    ],
)
def test_accepted_media(accept: bytes, reason: str | None) -> None:
    assert obstacle(headers=[TYPE, (b"accept", accept)]) == reason


def test_rescoring_narrows_the_window() -> None:
    assert clamp_window(read('{"rescore":{"query":{}}}'), 100) == 10
    assert clamp_window(read('{"rescore":[{"window_size":50},{"window_size":30}]}'), 100) == 30
    assert clamp_window(read('{"rescore":{"window_size":500}}'), 100) == 100
    assert clamp_window(read("{}"), 100) == 100
    assert clamp_window(read('{"rescore":7}'), 100) == 100


def test_query_text_prefers_the_url() -> None:
    assert (
        read_query_text(read('{"query":{"match":{"t":"blue"}}}', b"q=t:red+shoes")) == "red shoes"
    )
    assert read_query_text(read('{"query":{"match":{"t":"blue"}}}')) == "blue"
    assert read_query_text(read("{}", b"q=caf%C3%A9")) == "café"
    assert read_query_text(read("{}", b"q=")) is None


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (b"", b"application/json"),
        (b"*/*", b"application/json"),
        (
            b"application/vnd.elasticsearch+json;compatible-with=8,text/plain",
            b"application/vnd.elasticsearch+json;compatible-with=8",
        ),
    ],
)
def test_a_body_of_ours_gets_the_accepted_type(accept: bytes, content_type: bytes) -> None:
    """A search without a body gets one, and the two media types must name one version."""
    headers = [(b"accept", accept)] if accept else []
    _, written, body = write_request(widen(read(b"", b"q=a", headers), 100, Additions()))
    assert (b"content-type", content_type) in written
    assert body == b'{"from":0,"size":100}'


def test_parameters_keep_their_bytes() -> None:
    request = read("{}", b"a=%2f+b&from=3&pretty&%73ize=2&b=%C3%A9&a=c")
    target, _, _ = write_request(widen(request, 100, Additions()))
    assert target == b"/i/_search?a=%2f+b&pretty&b=%C3%A9&a=c"


KEYS = st.sampled_from(
    ["query", "aggs", "from", "size", "ext", "fields", "docvalue_fields", "highlight", "é", "x"]
)
NUMBERS = st.sampled_from(
    ["1.0", "1.10", "1.0E-5", "-0.0", "123456789012345678901234567890", "1e3"]
)
RAW: st.SearchStrategy[str] = st.recursive(
    NUMBERS | st.sampled_from(["null", "true", '"\\u00e9\\/"', '"é"', '""']),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: "[ " + ", ".join(parts) + " ]")
        | st.dictionaries(st.sampled_from(["a", "es_rerank", "é"]), inner, max_size=3).map(
            lambda parts: "{" + " ,".join(f'"{k}" : {v}' for k, v in parts.items()) + "}"
        )
    ),
    max_leaves=8,
)
BODIES = st.dictionaries(KEYS, RAW, max_size=6)


def canonical(raw: Any) -> bytes:
    """A value without the white space around its parts; its numbers and strings as written."""
    text = bytes(raw)
    first = text.lstrip()[:1]
    if first == b"{":
        members = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        return b"{" + b",".join(k.encode() + b":" + canonical(v) for k, v in members.items()) + b"}"
    if first == b"[":
        items = msgspec.json.decode(text, type=list[msgspec.Raw])
        return b"[" + b",".join(canonical(item) for item in items) + b"]"
    return text.strip()


@given(BODIES, st.integers(0, 500), st.lists(st.sampled_from(["t", "u"]), max_size=2))
def test_only_our_keys_change(parts: dict[str, str], hits: int, added: list[str]) -> None:
    """Whatever else a body holds reaches the cluster in its own bytes and its own order."""
    raw = ("{" + ", ".join(f'"{key}": {value}' for key, value in parts.items()) + "}").encode()
    try:
        request = read(raw)
    except BodyError:
        assert not all(
            parts.get(name, "[").startswith(opening)
            for name, opening in (("ext", "{"), ("fields", "["), ("docvalue_fields", "["))
        )
        return
    _, _, written = write_request(widen(request, hits, Additions(tuple(added), ("code",))))
    before = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    after = msgspec.json.decode(written, type=dict[str, msgspec.Raw])
    kept = [key for key in before if key not in OURS]
    assert [key for key in after if key not in OURS] == kept
    for key in kept:
        assert canonical(after[key]) == canonical(before[key])
    assert bytes(after["from"]) == b"0"
    assert int(bytes(after["size"])) == hits
    for name, paths in (("fields", added), ("docvalue_fields", ["code"])):
        own = msgspec.json.decode(before.get(name, b"[]"), type=list[msgspec.Raw])
        new = msgspec.json.decode(after.get(name, b"[]"), type=list[msgspec.Raw])
        assert [canonical(item) for item in new] == [
            *(canonical(item) for item in own),
            *(json.dumps(path).encode() for path in paths),
        ]
    if "ext" in before:
        members = msgspec.json.decode(before["ext"], type=dict[str, msgspec.Raw])
        others = {key: canonical(value) for key, value in members.items() if key != "es_rerank"}
        left = msgspec.json.decode(after.get("ext", b"{}"), type=dict[str, msgspec.Raw])
        assert {key: canonical(value) for key, value in left.items()} == others


@given(st.binary(max_size=60), st.binary(max_size=40))
def test_no_bytes_break_the_reading(body: bytes, query: bytes) -> None:
    try:
        request = read(body, query)
    except BodyError:
        return
    page = read_page(request)
    find_obstacle(request, page, clamp_window(request, 100))


@given(BODIES)
def test_no_body_breaks_the_judging(parts: dict[str, str]) -> None:
    raw = "{" + ", ".join(f'"{key}": {value}' for key, value in parts.items()) + "}"
    try:
        request = read(raw)
    except BodyError:
        return
    find_obstacle(request, read_page(request), clamp_window(request, 100))
    choose_additions(request, ["t"], ["u"], "code")
    read_query_text(request)
