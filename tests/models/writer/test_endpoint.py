"""Endpoints: several requests at once, again where that helps, never over the budget."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.errors import ConfigError, ModelError
from es_rerank.models.writer.budget import Budget
from es_rerank.models.writer.endpoint import EndpointOptions, EndpointWriter
from es_rerank.models.writer.prompt import Cost, CutShortError, Prompt
from tests.models.writer.chat_server import ChatServer, Reply, serving

BUSY: Reply = (429, {"error": {"message": "slow down"}}, {"retry-after": "0"})


def prompts(count: int) -> list[Prompt]:
    return [Prompt("rules", "write", f"product {n}", max_tokens=20) for n in range(count)]


def writer(server: ChatServer, **options: Any) -> EndpointWriter:
    shared = {"url": server.url, "model": "m", "first_pause_s": 0.01, **options}
    return EndpointWriter(EndpointOptions(**shared))


def echo(body: dict[str, Any]) -> str:
    """The data's last word."""
    return str(body["messages"][1]["content"].splitlines()[-2].split()[-1])


def test_texts_come_in_order_and_several_at_once() -> None:
    gate = threading.Barrier(4)

    def wait(number: int) -> None:
        if number < 4:
            gate.wait(10)  # ends only when four are under way

    with serving(ChatServer(echo, before=wait)) as server:
        made = writer(server, concurrency=4, price_in=1.0, price_out=10.0)
        assert made.write(prompts(9)) == [str(n) for n in range(9)]
    assert server.busiest == 4
    assert made.cost.tokens == 9 * 110
    assert made.cost.money == pytest.approx(9 * 200 / 1e6)
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0.0, 20)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


@pytest.mark.parametrize("trouble", [BUSY, (503, b"<html>", {}), (500, {}, {}), (0, {}, {})])
def test_what_passes_is_tried_again(trouble: Reply) -> None:
    with serving(ChatServer(echo, before=lambda n: trouble if n < 2 else None)) as server:
        assert writer(server, concurrency=1).write(prompts(2)) == ["0", "1"]
    assert len(server.bodies) == 4


def test_it_waits_as_long_as_it_is_told_to() -> None:
    told: Reply = (429, {}, {"retry-after": "0.4"})
    with serving(ChatServer(echo, before=lambda n: told if n == 0 else None)) as server:
        began = time.monotonic()
        writer(server).write(prompts(1))
        assert time.monotonic() - began >= 0.4


def test_an_endpoint_that_goes_away_leaves_what_it_has_done() -> None:
    with serving(ChatServer(echo, before=lambda n: BUSY if n >= 2 else None)) as server:
        made = writer(server, concurrency=1, retries=2)
        with pytest.raises(CutShortError, match=r"429 \(slow down\), after 3 tries") as cut:
            made.write(prompts(5))
        assert cut.value.written == ["0", "1", None, None, None]
        assert len(server.bodies) == 5


def test_one_that_answers_late_is_not_waited_for() -> None:
    def sleep(number: int) -> None:
        time.sleep(0.5)

    with serving(ChatServer(echo, before=sleep)) as server:
        made = writer(server, timeout_s=0.1, retries=1)
        with pytest.raises(CutShortError, match=r"cannot be reached \(ReadTimeoutError\)"):
            made.write(prompts(1))


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ((401, {"error": {"message": "bad key"}}, {}), "check the key"),
        ((404, {}, {}), "correct the generator's url"),
        ((400, {"error": {"message": "no such model"}}, {}), "no such model"),
        ((200, b"<html>", {}), "answered no JSON"),
        ((200, {"choices": []}, {}), "did not answer as chat completions do"),
        ((200, {"choices": [{"message": {"content": 3}}]}, {}), "did not answer as chat"),
    ],
)
def test_what_does_not_pass_is_asked_once(reply: Reply, says: str) -> None:
    with serving(ChatServer(before=lambda _: reply)) as server:
        with pytest.raises(CutShortError, match=says):
            writer(server, concurrency=1).write(prompts(3))
        assert len(server.bodies) == 1


def test_the_key_goes_to_the_endpoint_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", "sk-hunter2")
    echoing: Reply = (401, {"error": {"message": "wrong"}}, {})
    with serving(ChatServer(before=lambda n: echoing if n else None)) as server:
        made = writer(server, key_variable="SHOP_KEY")
        made.write(prompts(1))
        with pytest.raises(ModelError) as raised:
            made.write(prompts(1))
    assert server.heads[0]["authorization"] == "Bearer sk-hunter2"
    assert "hunter2" not in f"{raised.value} {made._options} {made.url} {made.name}"
    monkeypatch.delenv("SHOP_KEY")
    with pytest.raises(ConfigError, match=r"\$SHOP_KEY, which is not set"):
        writer(server, key_variable="SHOP_KEY")


@pytest.mark.parametrize("url", ["localhost:8000", "http://u:p@host/v1", "ftp://host"])
def test_addresses_that_will_not_do(url: str) -> None:
    with pytest.raises(ConfigError):
        EndpointWriter(EndpointOptions(url, "m"))


def test_images_are_shown_to_those_who_see() -> None:
    prompt = Prompt("r", "describe", "x", images=("https://img.example/a.jpg",))
    with serving(ChatServer()) as server:
        writer(server).write([prompt])
        writer(server, sees=True, limit_key="max_completion_tokens").write([prompt])
    assert isinstance(server.bodies[0]["messages"][1]["content"], str)
    parts = server.bodies[1]["messages"][1]["content"]
    assert parts[1] == {"type": "image_url", "image_url": {"url": "https://img.example/a.jpg"}}
    assert "max_completion_tokens" in server.bodies[1]


@pytest.mark.parametrize("concurrency", [1, 8])
def test_the_budget_ends_the_work_and_keeps_what_is_done(concurrency: int) -> None:
    with serving(ChatServer(echo)) as server:
        made = writer(server, concurrency=concurrency, budget_tokens=450)
        with pytest.raises(CutShortError, match="budget of m is used up") as cut:
            made.write(prompts(9))
        done = [text for text in cut.value.written if text is not None]
        assert len(done) == len(server.bodies) == 3  # 110 tokens each, and 150 set aside
        with pytest.raises(CutShortError):
            made.write(prompts(1))
        assert len(server.bodies) == 3


def test_a_budget_of_money() -> None:
    with serving(ChatServer(echo)) as server:
        made = writer(server, budget_money=0.0009, price_in=1.0, price_out=10.0, concurrency=1)
        with pytest.raises(CutShortError, match=r"0\.0006 of money"):
            made.write(prompts(9))
        assert len(server.bodies) == 3


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), max_size=20), st.integers(0, 60))
def test_a_budget_is_never_gone_over(requests: list[tuple[int, int]], most: int) -> None:
    budget = Budget(most)
    for aside, used in requests:
        if budget.set_aside(Cost(aside)):
            budget.settle(Cost(aside), Cost(min(used, aside)))
    assert budget.spent.tokens <= most
