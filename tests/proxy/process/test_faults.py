"""A scorer that fails in any way: the exact answer that the client sees."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.proxy.process.faulty_scorer import install
from tests.proxy.process.proxies import ENGINE_ORDER, Proxy, running, tables
from tests.proxy.search.test_handler import HITS, Cluster
from tests.proxy.wire import RawUpstream, upstream

TURNED = list(range(HITS, HITS - 10, -1))
NEVER = {"failures": 0}


@pytest.fixture(scope="module")
def cluster() -> Iterator[RawUpstream]:
    with upstream(Cluster()) as raw:
        yield raw


def proxy_with(folder: Path, cluster: RawUpstream, **rerank: object) -> object:
    install(folder)
    (folder / "fault").write_text("none of them")
    return running(
        folder,
        tables(
            cluster.url,
            model={"kind": "plugin", "name": "faulty"},
            plugins={"faulty": {"file": str(folder / "fault")}},
            rerank=rerank,
        ),
    )


@pytest.fixture(scope="module")
def stand(
    tmp_path_factory: pytest.TempPathFactory, cluster: RawUpstream
) -> Iterator[tuple[Proxy, Path]]:
    """A proxy without a breaker, so that each search meets the fault."""
    folder = tmp_path_factory.mktemp("faults")
    options = {"timeout_ms": 500, "stuck_s": 0.5, "max_waiting": 8, "breaker": NEVER}
    with proxy_with(folder, cluster, **options) as proxy:  # type: ignore[attr-defined]
        assert proxy.wait_until_applied() == TURNED
        yield proxy, folder / "fault"


@pytest.mark.parametrize(
    "fault", ["raises", "memory", "exits", "nan", "inf", "short", "one", "none"]
)
def test_what_a_scorer_gets_wrong_leaves_the_engines_order(
    stand: tuple[Proxy, Path], fault: str
) -> None:
    proxy, file = stand
    metric = 'es_rerank_fallbacks_total{reason="ranking-error"}'
    before = proxy.metric(metric)
    file.write_text(fault)
    assert proxy.find() == (200, "fallback; reason=ranking-error", ENGINE_ORDER)
    assert proxy.metric(metric) == before + 1
    file.write_text("")
    assert proxy.find() == (200, "applied", TURNED)


@pytest.mark.parametrize("fault", ["hangs", "spins", "holds"])
def test_a_scorer_that_hangs_stops_no_search(stand: tuple[Proxy, Path], fault: str) -> None:
    proxy, file = stand
    restarts = proxy.metric('es_rerank_restarts_total{part="thread"}')
    file.write_text(fault)
    began = time.monotonic()
    assert proxy.find() == (200, "fallback; reason=deadline", ENGINE_ORDER)
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda _: proxy.find(), range(4)))
    assert answers == [(200, "fallback; reason=deadline", ENGINE_ORDER)] * 4
    assert time.monotonic() - began < 15
    assert proxy.ready()[0] == 200
    file.write_text("")  # a sleep goes on, but on a thread that nobody waits for
    assert proxy.wait_until_applied() == TURNED
    assert proxy.metric('es_rerank_restarts_total{part="thread"}') >= restarts
    assert fault != "hangs" or proxy.logged("the model is stuck")


def test_a_queue_that_is_full_sheds_to_the_engines_order(stand: tuple[Proxy, Path]) -> None:
    proxy, file = stand
    file.write_text("spins")
    with ThreadPoolExecutor(24) as clients:
        answers = list(clients.map(lambda _: proxy.find(), range(24)))
    file.write_text("")
    assert {(status, tuple(ids)) for status, _, ids in answers} == {(200, tuple(ENGINE_ORDER))}
    marks = [mark for _, mark, _ in answers]
    assert set(marks) <= {"fallback; reason=deadline", "fallback; reason=overloaded"}
    assert "fallback; reason=overloaded" in marks
    assert proxy.wait_until_applied() == TURNED


def test_the_breaker_opens_and_closes(tmp_path: Path, cluster: RawUpstream) -> None:
    breaker = {"failures": 3, "window_s": 30, "open_s": 1.5}
    with proxy_with(tmp_path, cluster, breaker=breaker) as proxy:  # type: ignore[attr-defined]
        (tmp_path / "fault").write_text("raises")
        for _ in range(3):
            proxy.wait_for(lambda: proxy.find()[1] != "fallback; reason=model-not-ready", "ready")
        proxy.wait_for(lambda: proxy.find()[1] == "fallback; reason=breaker-open", "it opens", 10)
        assert proxy.find() == (200, "fallback; reason=breaker-open", ENGINE_ORDER)
        status, mark, _ = proxy.find(ext={"es_rerank": {"diversity": 0.9}})
        assert (status, mark) == (
            200,
            "fallback; reason=breaker-open,nothing-to-diversify-by",
        )
        assert proxy.ready()[0] == 200
        assert proxy.metric('es_rerank_breaker_state{state="open"}') == 1
        assert proxy.metric('es_rerank_fallbacks_total{reason="breaker-open"}') >= 2
        time.sleep(1.6)  # the breaker rests so long
        assert proxy.find()[1] == "fallback; reason=ranking-error"  # the trial
        assert proxy.find()[1] == "fallback; reason=breaker-open"
        (tmp_path / "fault").write_text("")
        assert proxy.wait_until_applied() == TURNED
        assert proxy.metric('es_rerank_breaker_state{state="closed"}') == 1
