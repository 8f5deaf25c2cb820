"""Ready: cheap, and it says what is missing."""

from __future__ import annotations

import json
import socket
import threading
import time

from tests.proxy.wire import Request, answer, ask, proxy_settings, serve_app, upstream

READY = b"GET /_es_rerank/ready"


def test_the_cluster_is_asked_once_a_second_at_most() -> None:
    def slowly(_: Request, connection: socket.socket) -> None:
        time.sleep(0.2)
        answer(connection, 200, b"{}")

    with upstream(slowly) as raw, serve_app(proxy_settings(raw.url)) as (proxy, _):
        statuses: list[int] = []
        askers = [
            threading.Thread(target=lambda: statuses.append(ask(proxy, READY)[0]))
            for _ in range(20)
        ]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        assert (statuses, len(raw.requests)) == ([200] * 20, 1)
        time.sleep(1.1)
        assert ask(proxy, b"HEAD /_es_rerank/ready")[0] == 200
        assert len(raw.requests) == 2


def test_a_cluster_that_is_not_well() -> None:
    with (
        upstream(lambda _, connection: answer(connection, 503, b"{}")) as raw,
        serve_app(proxy_settings(raw.url)) as (proxy, _),
    ):
        status, _, body = ask(proxy, READY)
    assert (status, json.loads(body)["reasons"]) == (503, ["upstream: answered 503"])


def test_a_silent_cluster_does_not_hold_the_probe() -> None:
    ended = threading.Event()

    def say_nothing(_: Request, __: socket.socket) -> None:
        ended.wait(10)

    with (
        upstream(say_nothing) as raw,
        serve_app(proxy_settings(raw.url)) as (proxy, _),
    ):
        began = time.monotonic()
        status, _, body = ask(proxy, READY)
        assert time.monotonic() - began < 4
        ended.set()
    assert (status, json.loads(body)["reasons"]) == (
        503,
        ["upstream: no answer within 2 seconds"],
    )


def test_a_model_that_cannot_be_loaded() -> None:
    with upstream() as raw, serve_app(proxy_settings(raw.url, "nonsense")) as (proxy, _):
        status, _, body = ask(proxy, READY)
        state = json.loads(body)
        assert (status, state["model"], state["upstream"]) == (503, False, True)
        assert state["reasons"][0].startswith("model: ")
        assert "nonsense" in state["reasons"][0]
        assert ask(proxy, b"GET /_es_rerank/live")[0] == 200
