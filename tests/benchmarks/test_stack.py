from __future__ import annotations

import socket
from pathlib import Path

import pytest

from benchmarks.stack import free_port, proxy
from es_rerank.demo.stack import Stack
from es_rerank.errors import EsRerankError


def test_a_free_port_can_be_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))


def test_a_proxy_that_ends_at_once_shows_the_end_of_its_log(tmp_path: Path) -> None:
    stack = Stack("http://127.0.0.1:9", "OpenSearch", "plain", "enriched", tmp_path)
    wrong = {"ES_RERANK_RERANK__RANK_WINDOW_SIZE": "0"}
    complaint = r"ended with status 2[\s\S]*rank_window_size"
    with pytest.raises(EsRerankError, match=complaint), proxy(stack, wrong):
        pass
