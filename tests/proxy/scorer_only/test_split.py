"""The proxy and the model in processes of their own, as they are on two machines."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest
import trustme

from es_rerank.models.cross_encoder import load_cross_encoder
from es_rerank.models.embedder import load_embedder
from es_rerank.models.remote import RemoteReranker
from tests.models.conftest import TinyModel, tiny_model  # noqa: F401 - a fixture
from tests.proxy.process.proxies import Proxy, running, tables
from tests.proxy.search.test_handler import Cluster
from tests.proxy.wire import ask, upstream

PATIENCE_S = 200.0
TEXTS = [f"shoe {i}" for i in range(1, 31)]
QUERY = "red running shoe"


def wait_until_ready(scorer: Proxy) -> None:
    scorer.wait_for(lambda: ask(scorer.url, b"GET /health")[0] == 200, "not ready", PATIENCE_S)


def test_a_proxy_ranks_by_a_scorer_as_by_a_model_of_its_own(
    tmp_path: Path,
    tiny_model: TinyModel,  # noqa: F811
) -> None:
    folder = str(tiny_model(1))
    expected = load_cross_encoder(folder, "cpu").score_pairs(QUERY, TEXTS)
    assert np.diff(np.sort(expected)).min() > 1e-3, "ties would hide a wrong order"
    order = [int(i) + 1 for i in np.argsort(-expected, kind="stable")]
    for name in ("scorer", "proxy"):
        (tmp_path / name).mkdir()
    model = {"kind": "cross-encoder", "name": folder, "embedder": folder, "device": "cpu"}
    alone = {"proxy": {"port": 0}, "model": {**model, "threads": 1}, "scorer": {"max_texts": 8}}
    with running(tmp_path / "scorer", alone, "--scorer-only") as scorer, upstream(Cluster()) as raw:
        assert scorer.ready()[0] == 503
        wait_until_ready(scorer)
        scores = RemoteReranker(scorer.url, timeout_s=60).score_pairs(QUERY, TEXTS)
        assert scores == pytest.approx(expected, abs=1e-4)
        remote = tables(raw.url, model={"kind": "remote", "url": scorer.url})
        with running(tmp_path / "proxy", remote) as proxy:
            assert proxy.wait_until_applied(words=QUERY, size=30) == order
            assert proxy.metric('es_rerank_remote_requests_total{outcome="ok"}') == 4
            scorer.signal(signal.SIGHUP)
            scorer.wait_for(lambda: scorer.logged("at its start alone"), "SIGHUP is not told")
            scorer.signal(signal.SIGTERM)
            assert scorer.process.wait(30) == 0
            assert proxy.find(words="black hat")[1].startswith("fallback")


def test_vectors_are_compared_where_no_cross_encoder_is(
    tmp_path: Path,
    tiny_model: TinyModel,  # noqa: F811
) -> None:
    folder = str(tiny_model(1))
    embedder = load_embedder(folder, "cpu")
    expected = embedder.encode(TEXTS) @ embedder.encode([QUERY])[0]
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    ours = authority.issue_cert("127.0.0.1")
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    ours.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    proxy = {
        "port": 0,
        "tls_cert": str(tmp_path / "cert.pem"),
        "tls_key": str(tmp_path / "key.pem"),
    }
    model = {"kind": "bi-encoder", "name": folder, "device": "cpu", "threads": 1}
    with running(tmp_path, {"proxy": proxy, "model": model}, "--scorer-only") as scorer:
        reranker = RemoteReranker(scorer.url, ca_certs=tmp_path / "ca.pem", timeout_s=20)
        until = time.monotonic() + PATIENCE_S
        scores = reranker.score_lists([(QUERY, TEXTS)])[0]
        while isinstance(scores, Exception):
            assert "loaded" in str(scores) or time.monotonic() < until, scores
            time.sleep(0.5)
            scores = reranker.score_lists([(QUERY, TEXTS)])[0]
    assert scores == pytest.approx(expected, abs=1e-4)
