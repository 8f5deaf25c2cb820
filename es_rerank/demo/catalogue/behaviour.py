"""Behaviour logs in the User Behavior Insights form (schema 1.3), from a click model we know.

Position-based model (Craswell et al., An experimental comparison of click position-bias models,
WSDM 2008): a user looks at rank r with probability `PROPENSITIES[r-1]`, and clicks a product that
they looked at with a probability that depends on its grade for the query and on their own tastes.
A tenth of the searches shows the first ten in random order, for unbiased estimates.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from es_rerank.demo.catalogue.judgments import Grades, judge
from es_rerank.demo.catalogue.products import Product
from es_rerank.demo.catalogue.queries import QuerySpec
from es_rerank.demo.catalogue.retrieval import Bm25
from es_rerank.demo.catalogue.users import User, attraction

APPLICATION = "sample-shop"
SHOWN = 20
SEARCHES_PER_USER = 38
RANDOMISED = 0.1
PROPENSITIES = tuple(round(1 / rank**0.85, 4) for rank in range(1, SHOWN + 1))
GRADE_APPEAL = {3: 1.0, 2: 0.7, 1: 0.22, 0: 0.06}
CLICK_SCALE = 1.0
CART = 0.38  # of the clicks on a product that suits the user perfectly
PURCHASE = 0.5  # of the carts
FIRST_DAY = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)
DAYS = 184


def click_probability(user: User, product: Product, grade: int) -> float:
    """The probability of a click once the user has looked: relevance times taste."""
    taste = 0.15 + 0.85 * math.pow(attraction(user, product), 1.5)
    return CLICK_SCALE * GRADE_APPEAL[grade] * taste


def describe_propensities(seed: int) -> dict[str, Any]:
    """What the simulation used, for checks of estimators against the truth."""
    return {
        "model": "position-based",
        "seed": seed,
        "examination": {str(rank): p for rank, p in enumerate(PROPENSITIES, start=1)},
        "click_given_examined": {
            "scale": CLICK_SCALE,
            "grade_appeal": {str(g): a for g, a in GRADE_APPEAL.items()},
            "taste": "0.15 + 0.85 * attraction ** 1.5",
        },
        "cart_given_click": f"{CART} * attraction",
        "purchase_given_cart": PURCHASE,
        "randomised_share": RANDOMISED,
    }


def simulate(
    users: Sequence[User], queries: Sequence[QuerySpec], products: Sequence[Product], seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(ubi_queries, ubi_events), each in order of time."""
    index = Bm25([(p.id, p.document["title"], p.document["description"]) for p in products])
    by_id = {product.id: product for product in products}
    shown = {q.id: index.search(q.text, SHOWN) for q in queries}
    grades = {q.id: judge(q, (by_id[i] for i in shown[q.id]))[0] for q in queries}
    searches: list[tuple[datetime, User, int, QuerySpec, random.Random]] = []
    for user in users:
        rng = random.Random(f"{seed}/behaviour/{user.id}")
        pool = [q for q in queries if q.language == user.language]
        weights = [_interest(user, q, by_id, shown[q.id]) for q in pool]
        left = max(3, round(SEARCHES_PER_USER * user.activity))
        session = 0
        while left > 0:
            session += 1
            moment = FIRST_DAY + timedelta(
                days=rng.randrange(DAYS), seconds=round(rng.triangular(0, 64000, 48000))
            )
            for query in rng.choices(pool, weights, k=min(left, rng.choice((1, 1, 2, 3, 5)))):
                searches.append((moment, user, session, query, rng))
                moment += timedelta(seconds=rng.randint(40, 400))
                left -= 1
    searches.sort(key=lambda row: (row[0], row[1].id))
    ubi_queries: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for number, (moment, user, session, query, _) in enumerate(searches, start=1):
        rng = random.Random(f"{seed}/search/{number}")
        hits = list(shown[query.id])
        randomised = rng.random() < RANDOMISED
        if randomised:
            top = hits[:10]
            rng.shuffle(top)
            hits[:10] = top
        query_id = f"s{number:06d}"
        head = {
            "application": APPLICATION,
            "query_id": query_id,
            "client_id": f"client-{user.id}",
        }
        ubi_queries.append(
            {
                **head,
                "user_query": query.text,
                "query_attributes": {
                    "language": query.language,
                    "randomised": randomised,
                    "page_size": SHOWN,
                },
                "query_response_id": f"a{number:06d}",
                "query_response_hit_ids": hits,
                "object_id_field": "id",
                "timestamp": _stamp(moment),
            }
        )
        common = {**head, "session_id": f"{user.id}-{session}", "user_id": user.id}
        events.extend(_act(user, hits, grades[query.id], by_id, query, common, moment, rng))
    events.sort(key=lambda event: str(event["timestamp"]))
    return ubi_queries, events


def _interest(
    user: User, query: QuerySpec, by_id: Mapping[str, Product], hits: Sequence[str]
) -> float:
    """How often the user types the query: their types first, the shop's head queries second."""
    if not hits:
        return 0.0
    kinds = [by_id[i].document["type"] for i in hits[:10]]
    own = sum(user.types.get(kind, 0.0) for kind in kinds) / len(kinds)
    popular = 0.012 if "head" in query.kinds else 0.005
    return own + popular * (0.35 if query.logged_only else 1.0)


def _act(
    user: User,
    hits: Sequence[str],
    grades: Grades,
    by_id: Mapping[str, Product],
    query: QuerySpec,
    common: Mapping[str, Any],
    moment: datetime,
    rng: random.Random,
) -> list[dict[str, Any]]:
    events = []
    for rank, hit in enumerate(hits, start=1):
        if rng.random() >= PROPENSITIES[rank - 1]:
            continue
        product = by_id[hit]
        if rng.random() >= click_probability(user, product, grades.get(hit, 0)):
            continue
        moment += timedelta(seconds=rng.randint(3, 70))
        actions = ["click"]
        if rng.random() < CART * attraction(user, product):
            actions.append("add_to_cart")
            if rng.random() < PURCHASE:
                actions.append("purchase")
        for action in actions:
            events.append(_event(action, product, rank, query, common, moment))
            moment += timedelta(seconds=rng.randint(8, 120))
    return events


def _event(
    action: str,
    product: Product,
    rank: int,
    query: QuerySpec,
    common: Mapping[str, Any],
    moment: datetime,
) -> dict[str, Any]:
    return {
        **common,
        "action_name": action,
        "timestamp": _stamp(moment),
        "message_type": "CONVERSION" if action == "purchase" else "INTERACTION",
        "message": f"{action} {product.id} for {query.text}",
        "event_attributes": {
            "object": {
                "object_id": product.id,
                "object_id_field": "id",
                "object_id_type": "product",
                "description": product.document["title"],
            },
            "position": {"ordinal": rank},
        },
    }


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
