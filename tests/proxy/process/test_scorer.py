"""One scorer process for two workers, with a small real model."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.models.conftest import TinyModel, tiny_model  # noqa: F401 - a fixture
from tests.proxy.process.proxies import ENGINE_ORDER, Proxy, running, tables
from tests.proxy.search.test_handler import Cluster
from tests.proxy.wire import upstream

WORDS = ("red shoes", "blue running shoe", "garden gnome", "black hat size")
GOOD = {"timeout_ms": 20_000, "stuck_s": 2.0, "diversify": {"diversity": 0.3}}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with upstream(Cluster()) as raw:
        yield raw.url


def settings(url: str, model: dict[str, Any]) -> dict[str, Any]:
    # No scores are kept: with them, what was asked before needs no scorer at all.
    unkept = {"max_mb": 0}
    own = {"device": "cpu", "threads": 1, **model}
    rerank = {**GOOD, "unknown_limit": 1.0}  # the small model knows few of the words
    return tables(url, model=own, rerank=rerank, score_cache=unkept)


@pytest.fixture(scope="module")
def folder(tiny_model: TinyModel) -> str:  # noqa: F811
    return str(tiny_model(1))


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, url: str, folder: str) -> Iterator[Proxy]:
    place = tmp_path_factory.mktemp("shared")
    model = {"kind": "cross-encoder", "name": folder, "embedder": folder}
    with running(place, settings(url, model), "--workers", "2") as proxy:
        proxy.wait_until_applied()
        yield proxy


def scorer_of(proxy: Proxy) -> int:
    (scorer,) = proxy.children("scorer")
    return scorer


def orders(proxy: Proxy) -> list[list[int]]:
    return [proxy.wait_until_applied(words=words, size=30) for words in WORDS]


def test_the_order_is_that_of_one_process(
    tmp_path: Path, url: str, folder: str, proxy: Proxy
) -> None:
    model = {"kind": "cross-encoder", "name": folder, "embedder": folder}
    with running(tmp_path, settings(url, model)) as alone:
        expected = orders(alone)
    assert len({tuple(order) for order in expected}) > 1
    assert all(sorted(order) == list(range(1, 31)) for order in expected)
    assert [orders(proxy) for _ in range(3)] == [expected] * 3  # by either worker


def test_workers_have_no_torch(proxy: Proxy) -> None:
    maps = {pid: Path(f"/proc/{pid}/maps").read_text() for pid in proxy.children()}
    assert {pid for pid, text in maps.items() if "libtorch" in text} == {scorer_of(proxy)}
    assert proxy.metric("es_rerank_model_ready") == 1


def test_a_scorer_that_is_killed_is_started_again(proxy: Proxy) -> None:
    """As the kernel kills what takes too much memory."""
    before = orders(proxy)
    victim = scorer_of(proxy)
    os.kill(victim, signal.SIGKILL)
    status, mark, ids = proxy.find()
    assert (status, mark, ids) == (200, "fallback; reason=scorer-gone", ENGINE_ORDER)
    assert proxy.metric('es_rerank_fallbacks_total{reason="scorer-gone"}') >= 1
    assert proxy.ready()[0] == 200
    assert orders(proxy) == before
    assert scorer_of(proxy) != victim
    assert proxy.metric('es_rerank_restarts_total{part="scorer"}') == 1


def test_a_scorer_that_is_silent_is_killed_and_started_again(proxy: Proxy) -> None:
    victim = scorer_of(proxy)
    os.kill(victim, signal.SIGSTOP)
    status, mark, ids = proxy.find(ext={"es_rerank": {"timeout_ms": 300}})
    assert (status, mark, ids) == (200, "fallback; reason=deadline", ENGINE_ORDER)
    proxy.wait_until_applied()
    assert scorer_of(proxy) != victim
    assert proxy.logged("the scorer is stuck and is killed")


def test_another_model_takes_over_without_a_restart(
    proxy: Proxy, url: str, folder: str, tmp_path: Path
) -> None:
    old = scorer_of(proxy)
    model = {"kind": "cross-encoder", "name": str(tmp_path / "none"), "embedder": folder}
    proxy.reload(settings(url, model))
    assert proxy.logged("the new model cannot be loaded")
    assert proxy.find()[1] == "applied"
    assert scorer_of(proxy) == old
    proxy.reload(settings(url, {"kind": "bi-encoder", "name": folder}))
    assert proxy.find()[1] == "applied"
    assert len(proxy.children("scorer")) == 2  # the old one rests until no search can ask it


def test_a_model_that_is_missing_at_the_start_is_found_on_reload(
    tmp_path: Path, url: str, folder: str
) -> None:
    place = tmp_path / "model"
    chosen = settings(url, {"kind": "bi-encoder", "name": str(place)})
    with running(tmp_path, chosen, "--workers", "2") as proxy:
        proxy.wait_for(lambda: len(proxy.logged("the model cannot be loaded")) >= 3, "not told")
        status, state = proxy.ready()
        assert status == 503
        assert "there is no such folder" in str(state)
        assert proxy.find() == (200, "fallback; reason=model-not-ready", ENGINE_ORDER)
        place.symlink_to(folder)
        proxy.reload(chosen)
        assert proxy.find()[1] == "applied"
