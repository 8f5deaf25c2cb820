"""A small catalogue for the graph's tests, and the graph of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from es_rerank.enrich.graph.facts import FactFields, Facts, read_facts
from es_rerank.enrich.graph.graph import Bought, Graph, settle
from es_rerank.enrich.graph.survey import Survey

FIELDS = FactFields(("title", "description"), "brand", "type", "price")


def product(title: str, kind: str, brand: str, price: float = 100.0, **more: Any) -> dict[str, Any]:
    return {"title": title, "type": kind, "brand": brand, "price": price, **more}


PHONES: Mapping[str, dict[str, Any]] = {
    "a1": product("Acme Nova 5 Phone Black 64 GB", "phone", "Acme", color="black", size="64 GB"),
    "a2": product("Acme Nova 5 Phone White 128 GB", "phone", "Acme", color="white", size="128 GB"),
    "a3": product("Acme Nova 5 Pro Phone Black 64 GB", "phone", "Acme", 160, color="black"),
    "z1": product(
        "Zeta Orbit 7 Phone Black 64 GB", "phone", "Zeta", 95, color="black", size="64 GB"
    ),
    "c1": product("Case for Acme Nova 5, Red", "case", "Hull", 9, color="red"),
    "c2": product("Leather case brown", "case", "Hull", 19, compatibility=["Zeta Orbit 7"]),
    "c3": product("Case for Gamma X100", "case", "Hull", 9),
    "k1": product("Kettle 1.5 l", "kettle", "Zeta", 30),
    "k2": product(
        "Tea filter", "filter", "Zeta", 5, description="Pairs well with Zeta Orbit 7. Washable."
    ),
}


def read(rows: Mapping[str, dict[str, Any]]) -> list[Facts]:
    return [read_facts(key, source, FIELDS) for key, source in rows.items()]


def build(facts: Iterable[Facts], bought: Bought | None = None, most: int = 8) -> Graph:
    survey = Survey()
    for each in facts:
        survey.add(each)
    return settle(survey, bought, most=most)


def patches(rows: Mapping[str, dict[str, Any]], order: Sequence[str] | None = None) -> Any:
    """The patch of each product; order: in which they are surveyed."""
    facts = {each.id: each for each in read(rows)}
    graph = build([facts[key] for key in order or facts])
    return {key: graph.patch(each) for key, each in facts.items()}
