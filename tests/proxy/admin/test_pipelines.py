"""Changes to the stored pipelines, and what is refused before the cluster is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.proxy.admin.pipelines import (
    MAX_BODY_BYTES,
    MAX_PIPELINES,
    RefusedError,
    with_pipeline,
    without,
)
from es_rerank.proxy.pipeline_store import Stored
from tests.proxy.wire import ask, proxy_settings, serve_app, upstream

NAMES = st.sampled_from(["a", "b", "c"])
BODIES = st.fixed_dictionaries({"diversity": st.sampled_from([0.1, 0.2])})


@given(st.lists(st.tuples(NAMES, st.none() | BODIES), max_size=30))
def test_no_name_sees_a_version_twice(steps: list[tuple[str, dict[str, Any] | None]]) -> None:
    stored = Stored()
    seen: dict[str, tuple[int, Any]] = {}
    for name, body in steps:
        if body is None:
            if name in stored.pipelines:
                stored = without(stored, name, None)
            continue
        stored = with_pipeline(stored, name, body, None)
        now = dict(stored.pipelines[name])
        version = now["version"]
        if name in seen:
            assert version > seen[name][0] or (version, now) == seen[name]
        seen[name] = (version, now)
        assert with_pipeline(stored, name, body, None) is stored
        assert with_pipeline(stored, name, now, version) is stored


def test_versions_count_from_one() -> None:
    stored = with_pipeline(Stored(), "a", {"diversity": 0.1}, 0)
    stored = with_pipeline(stored, "a", {"diversity": 0.2}, 1)
    stored = with_pipeline(stored, "b", {}, None)
    assert stored.pipelines == {"a": {"diversity": 0.2, "version": 2}, "b": {"version": 1}}


def test_a_version_of_ones_own_must_rise() -> None:
    stored = with_pipeline(Stored(), "a", {"version": 7}, None)
    assert with_pipeline(stored, "a", {"version": 7}, None) is stored
    with pytest.raises(RefusedError, match="version 7 is not above 7"):
        with_pipeline(stored, "a", {"version": 7, "diversity": 0.5}, None)
    with pytest.raises(RefusedError, match="give 8"):
        with_pipeline(without(stored, "a", 7), "a", {"version": 7}, None)
    again = with_pipeline(without(stored, "a", None), "a", {}, None)
    assert again.pipelines["a"]["version"] == 8


@pytest.mark.parametrize("expected", [0, 2])
def test_a_change_for_another_version_is_refused(expected: int) -> None:
    stored = with_pipeline(Stored(), "a", {}, None)
    with pytest.raises(RefusedError, match="version is 1") as refused:
        with_pipeline(stored, "a", {"diversity": 1}, expected)
    assert refused.value.status == 409
    with pytest.raises(RefusedError, match="version is 1"):
        without(stored, "a", expected)


def test_what_is_not_there_is_named_with_the_nearest() -> None:
    stored = with_pipeline(Stored(), "shop", {}, None)
    with pytest.raises(RefusedError, match=r"no pipeline \[shp\]: did you mean \[shop\]\?"):
        without(stored, "shp", None)


def test_there_is_an_end_to_their_number() -> None:
    full = Stored("r", 0, {f"p{i}": {"version": 1} for i in range(MAX_PIPELINES)})
    with pytest.raises(RefusedError, match="delete some"):
        with_pipeline(full, "one-more", {}, None)
    assert with_pipeline(full, "p0", {"diversity": 0.3}, 1).pipelines["p0"]["version"] == 2


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("shop", b'{"diversty": 1}', 400, "unknown key [diversty]: did you mean [diversity]?"),
        ("shop", b'{"lambda": 1}', 400, "diversity = 1 - lambda"),
        ("shop", b'{"query_text": "x"}', 400, "unknown key [query_text]"),
        ("shop", b'{"model": "/etc/passwd"}', 400, "unknown key [model]"),
        ("shop", b'{"weights": {"relevnce": 1}}', 400, "did you mean [relevance]?"),
        ("shop", b'{"rank_window_size": "100"}', 400, "[rank_window_size] Input should be"),
        ("shop", b'{"version": 0}', 400, "[version]"),
        ("shop", b"[]", 400, "must be an object"),
        ("shop", b"{", 400, "no JSON"),
        ("Shop", b"{}", 400, "[Shop] is no pipeline's name"),
        ("_none", b"{}", 400, "[_none] is no pipeline's name"),
        ("a%2Fb", b"{}", 400, "[a/b] is no pipeline's name"),
        ("shop?if_version=x", b"{}", 400, "[if_version]"),
        ("shop", b"{" + b" " * MAX_BODY_BYTES + b"}", 413, "at most 65536 bytes"),
    ],
)
def test_bad_bodies_and_names_are_refused(path: str, body: bytes, status: int, reason: str) -> None:
    with upstream() as raw, serve_app(proxy_settings(raw.url)) as (proxy, _):
        got, _, answered = ask(proxy, f"PUT /_es_rerank/pipeline/{path}".encode(), body=body)
        assert raw.requests == []
    error = json.loads(answered)
    assert (got, error["status"]) == (status, status)
    assert reason in error["error"]["reason"]


def test_a_cluster_that_is_away() -> None:
    with serve_app(proxy_settings("http://127.0.0.1:9")) as (proxy, _):
        assert ask(proxy, b"PUT /_es_rerank/pipeline/shop", body=b"{}")[0] == 502
        assert ask(proxy, b"GET /_es_rerank/pipeline")[0] == 502
