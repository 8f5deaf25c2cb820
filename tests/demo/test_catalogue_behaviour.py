"""Behaviour logs: the User Behavior Insights form, and the click model behind them."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from typing import Any

import pytest

from es_rerank.demo import sample


@pytest.fixture(scope="module")
def searches() -> dict[str, dict[str, Any]]:
    return {row["query_id"]: row for row in sample.load_ubi_queries()}


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    return sample.load_ubi_events()


def test_events_belong_to_searches_users_and_products(
    searches: dict[str, dict[str, Any]], events: list[dict[str, Any]]
) -> None:
    users = {user["user_id"] for user in sample.load_users()}
    assert len(users) == 300
    assert 15_000 <= len(events) <= 40_000
    for event in events:
        search = searches[event["query_id"]]
        place = event["event_attributes"]["position"]["ordinal"]
        thing = event["event_attributes"]["object"]
        assert search["query_response_hit_ids"][place - 1] == thing["object_id"]
        assert event["client_id"] == search["client_id"]
        assert event["user_id"] in users
        assert event["timestamp"] >= search["timestamp"]
    assert {e["action_name"] for e in events} == {"click", "add_to_cart", "purchase"}


def test_rows_have_the_schemas_fields(
    searches: dict[str, dict[str, Any]], events: list[dict[str, Any]]
) -> None:
    products = {p["id"] for p in sample.load_products(with_reviews=False)}
    for row in searches.values():
        assert set(row) == {
            "application",
            "query_id",
            "client_id",
            "user_query",
            "query_attributes",
            "query_response_id",
            "query_response_hit_ids",
            "object_id_field",
            "timestamp",
        }
        assert set(row["query_response_hit_ids"]) <= products
        datetime.fromisoformat(row["timestamp"])
    for event in events[:500]:
        assert len(event["message"]) <= 1024
        assert {"object_id", "object_id_field", "description"} <= set(
            event["event_attributes"]["object"]
        )


def test_a_purchase_follows_a_cart_follows_a_click(events: list[dict[str, Any]]) -> None:
    done: dict[tuple[str, str], list[str]] = defaultdict(list)
    for event in events:
        thing = event["event_attributes"]["object"]["object_id"]
        done[event["query_id"], thing].append(event["action_name"])
    order = ["click", "add_to_cart", "purchase"]
    assert all(actions == order[: len(actions)] for actions in done.values())


def test_randomised_searches_show_the_true_propensities(
    searches: dict[str, dict[str, Any]], events: list[dict[str, Any]]
) -> None:
    """With the first ten shuffled, the click rate by rank is examination times a constant."""
    shuffled = {k for k, row in searches.items() if row["query_attributes"]["randomised"]}
    shown = Counter(
        rank
        for k in shuffled
        for rank in range(1, min(10, len(searches[k]["query_response_hit_ids"])) + 1)
    )
    clicks = Counter(
        e["event_attributes"]["position"]["ordinal"]
        for e in events
        if e["action_name"] == "click" and e["query_id"] in shuffled
    )
    truth = sample.load_propensities()["examination"]
    appeal = sum(clicks[r] for r in range(1, 11)) / sum(
        shown[r] * truth[str(r)] for r in range(1, 11)
    )
    for rank in (1, 2, 3, 5):
        expected = appeal * truth[str(rank)]
        assert clicks[rank] / shown[rank] == pytest.approx(expected, rel=0.25)


def test_tastes_drive_clicks(events: list[dict[str, Any]]) -> None:
    brands = {u["user_id"]: u["tastes"]["brands"] for u in sample.load_users()}
    products = {p["id"]: p for p in sample.load_products(with_reviews=False)}
    searches = {row["query_id"]: row for row in sample.load_ubi_queries()}

    def liked(user: str, product: str) -> bool:
        return products[product]["brand"] in brands[user]

    clicks = [e for e in events if e["action_name"] == "click"]
    clicked = [liked(e["user_id"], e["event_attributes"]["object"]["object_id"]) for e in clicks]
    shown = [
        liked(row["client_id"].removeprefix("client-"), hit)
        for row in searches.values()
        for hit in row["query_response_hit_ids"]
    ]
    assert sum(clicked) / len(clicked) > 1.3 * sum(shown) / len(shown)
