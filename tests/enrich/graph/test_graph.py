"""The graph of a small catalogue: every kind of edge, its reason; order changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.enrich.graph.catalogue import PHONES, build, patches, product, read

FOUND = patches(PHONES)


def objects(key: str, predicate: str, found: Any = FOUND) -> list[str]:
    return found[key].get(predicate, [])  # type: ignore[no-any-return]


def reason(key: str, predicate: str) -> str:
    edges = FOUND[key]["edges"]
    return str(next(edge["reason"] for edge in edges if edge["predicate"] == predicate))


def test_variants_differ_in_colour_and_size_and_no_version() -> None:
    assert objects("a1", "variant_of") == ["a2"]
    assert objects("a3", "variant_of") == []
    assert FOUND["a2"]["family"] == FOUND["a1"]["family"] == "a1"
    assert "family" not in FOUND["a3"]
    assert "colour white, here black; size 128 GB, here 64 GB" in reason("a1", "variant_of")


def test_substitutes_are_of_the_type_and_one_of_a_family() -> None:
    assert objects("z1", "similar_to")[0] == "a1"
    assert set(objects("z1", "similar_to")) <= {"a1", "a3"}
    assert objects("a1", "similar_to")[0] == "z1"
    assert "price -5 %" in reason("a1", "similar_to")


def test_accessories_are_for_the_very_model() -> None:
    assert objects("c1", "accessory_of") == ["a1"]  # and not a3, the Pro
    assert objects("c2", "accessory_of") == ["z1"]
    assert reason("c2", "accessory_of") == "a field says: for Zeta Orbit 7"
    assert objects("a1", "goes_with") == ["c1"]
    assert objects("a2", "goes_with") == ["c1"]  # a variant, too
    assert objects("z1", "goes_with") == ["c2"]
    assert objects("c3", "accessory_of") == []
    assert objects("c3", "compatible_with") == ["gamma x100"]


def test_a_title_that_lists_models_is_no_host() -> None:
    rows = {
        "p": product("Acme C780 printer", "printer", "Acme"),
        "f": product("Acme C780, C782 forms card", "card", "Acme"),
        "t": product("Toner", "toner", "Acme", compatibility=["Acme C780", "Acme C782"]),
    }
    found = patches(rows)
    assert objects("t", "accessory_of", found) == ["p"]
    assert "goes_with" not in found["f"]


def test_what_fits_another_model_is_no_substitute() -> None:
    rows = {
        "a": product("Toner", "toner", "Acme", compatibility=["Acme C780", "Acme C782"]),
        "b": product("Ink", "toner", "Beta", compatibility=["Acme C782"]),
        "c": product("Ribbon", "toner", "Ceta", compatibility=["Acme X100"]),
        "d": product("Powder", "toner", "Deta"),
    }
    assert sorted(objects("a", "similar_to", patches(rows))) == ["b", "d"]


def test_models_apart_by_their_article_number_are_no_variants() -> None:
    rows = {
        "a": product("Acme BX77LK board LGA 775 ATX", "board", "Acme"),
        "b": product("Acme DX48TT board LGA 775 ATX", "board", "Acme"),
        "c": product("Acme BX77LK board LGA 775 ATX - 113R1", "board", "Acme"),
        "d": product("Acme BX77LK board LGA 775 ATX - 113R2", "board", "Acme"),
    }
    found = patches(rows)
    assert objects("a", "variant_of", found) == ["c", "d"]
    assert objects("b", "variant_of", found) == []


def test_what_is_mentioned_together() -> None:
    assert objects("k2", "goes_with") == ["z1"]


def test_what_is_bought_together() -> None:
    graph = build(read(PHONES), {"k1": [("k2", 6)]})
    (kettle,) = (facts for facts in read(PHONES) if facts.id == "k1")
    edges = graph.patch(kettle)["edges"]
    assert [edge for edge in edges if edge["predicate"] == "bought_with"] == [
        {
            "predicate": "bought_with",
            "object": "k2",
            "confidence": 0.75,
            "reason": "bought together 6 times",
        }
    ]


def test_attributes_are_in_one_unit() -> None:
    assert FOUND["a1"]["attributes"] == ["colour: black", "size: 64 GB"]


def test_a_group_that_the_shop_names_joins_any_titles() -> None:
    rows = {
        "x": product("Alpha one", "lamp", "B", item_group_id=7),
        "y": product("Something else", "lamp", "B", item_group_id=7),
        "z": product("Alpha two", "lamp", "B", item_group_id=8),
    }
    assert objects("x", "variant_of", patches(rows)) == ["y"]


def test_no_more_edges_than_asked_for() -> None:
    rows = {
        f"p{n:02d}": product(f"Lamp kind{n} model", "lamp", f"B{n}", 100 + n) for n in range(30)
    }
    graph = build(read(rows), most=3)
    for facts in read(rows):
        assert len(graph.patch(facts)["similar_to"]) == 3


def test_a_product_that_was_not_surveyed_is_linked_all_the_same() -> None:
    graph = build(read({key: PHONES[key] for key in PHONES if key != "a2"}))
    (new,) = (facts for facts in read(PHONES) if facts.id == "a2")
    assert graph.patch(new)["variant_of"] == ["a1"]


@pytest.mark.parametrize("rows", [{}, {"x": {}}, {"x": {"title": ""}, "y": {"title": None}}])
def test_next_to_nothing(rows: dict[str, dict[str, Any]]) -> None:
    assert all("edges" not in patch for patch in patches(rows).values())


@settings(max_examples=40)
@given(st.permutations(sorted(PHONES)))
def test_the_order_of_reading_changes_nothing(order: list[str]) -> None:
    assert patches(PHONES, order) == FOUND


VALUES = st.sampled_from(
    ["Red", "Blue", "5", "Nova", "Acme", "Case for", "Phone", "64 GB", "é", ""]
)


@settings(max_examples=40)
@given(st.lists(st.lists(VALUES, max_size=5).map(" ".join), min_size=1, max_size=8), st.randoms())
def test_edges_lead_to_others_and_variants_agree(titles: list[str], chance: Any) -> None:
    rows = {
        f"{n}": product(title, chance.choice(["phone", "case", ""]), chance.choice(["Acme", ""]))
        for n, title in enumerate(titles)
    }
    found = patches(rows)
    for key, patch in found.items():
        for edge in patch.get("edges", ()):
            assert edge["object"] != key
            assert 0 < edge["confidence"] <= 1
            assert edge["reason"]
        for other in patch.get("variant_of", ()):
            assert key in found[other]["variant_of"]
