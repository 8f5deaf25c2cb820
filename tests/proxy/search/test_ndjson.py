"""Reading `_msearch` bodies as the engine does, without losing a byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.proxy.search.coding import BodyError
from es_rerank.proxy.search.ndjson import read_items, write_items

BODIES = st.sampled_from([b"{}", b'{"size":0}', b'{ "query" : {} }', b"no json", b"[1]"])
HEADERS = st.sampled_from([b"", b"{}", b'{"index":"a"}', b'{"preference":"p"}', b" {} "])


@given(st.lists(st.tuples(HEADERS, BODIES), min_size=1, max_size=6))
def test_lines_keep_their_bytes(pairs: list[tuple[bytes, bytes]]) -> None:
    """An empty first line is the cluster's to judge, so the first header is not empty here."""
    pairs[0] = (pairs[0][0] or b"{}", pairs[0][1])
    whole = write_items(pairs)
    items = read_items(whole, b"shop")
    assert [(item.header, item.body) for item in items] == pairs
    assert write_items((item.header, item.body) for item in items) == whole


@pytest.mark.parametrize(
    ("header", "index", "parameters"),
    [
        (b"", b"path", ()),
        (b"{}", b"path", ()),
        (b'{"index":"shop"}', b"shop", ()),
        (b'{"index":["a","b*"]}', b"a,b*", ()),
        (b'{"index":"<logs-{now/d}>"}', b"%3Clogs-%7Bnow%2Fd%7D%3E", ()),
        (b'{"indices":["a"]}', b"a", ()),
        (
            b'{"index":"a","preference":"me & you","routing":"x","ignore_unavailable":true,'
            b'"expand_wildcards":["open","hidden"],"pre_filter_shard_size":3}',
            b"a",
            (
                (b"preference", b"me%20%26%20you"),
                (b"routing", b"x"),
                (b"ignore_unavailable", b"true"),
                (b"expand_wildcards", b"open%2Chidden"),
                (b"pre_filter_shard_size", b"3"),
            ),
        ),
    ],
)
def test_headers(header: bytes, index: bytes, parameters: tuple[object, ...]) -> None:
    (item,) = read_items(b"{}\n{}\n" + header + b"\n{}\n", b"path")[1:]
    assert (item.index, item.parameters) == (index, parameters)


def test_a_last_header_alone_is_passed_over() -> None:
    (item,) = read_items(b"{}\n{}\n{}\n", b"")
    assert (item.header, item.body) == (b"{}", b"{}")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"\n{}\n{}\n{}\n",
        b"{}\n",
        b"{}\n{}",
        b"{}\n{}\n{}",
        b"[]\n{}\n",
        b"{\n{}\n",
        b'{"index":{}}\n{}\n',
        b'{"index":""}\n{}\n',
        b'{"preference":null}\n{}\n',
        b"\r\n{}\n",
    ],
)
def test_what_the_engine_must_judge(body: bytes) -> None:
    with pytest.raises(BodyError):
        read_items(body, b"")
