"""What is read of a document, in whatever form shops keep attributes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.cluster.fields import find_fields
from es_rerank.demo.sample import MAPPING
from es_rerank.enrich.graph.facts import choose_fields, read_facts
from tests.enrich.graph.catalogue import FIELDS


@pytest.mark.parametrize(
    "specs",
    [
        {"weight_g": 240, "Material": "Mesh", "waterproof": True, "silent": False},
        [
            {"name": "weight", "value": "240 g"},
            {"name": "Material", "value": "Mesh"},
            {"name": "waterproof", "value": "yes"},
        ],
        ["weight: 0.24 kg", "Material: Mesh", "waterproof: 是"],
    ],
)
def test_attributes_in_any_form(specs: Any) -> None:
    facts = read_facts("1", {"title": "Shoe", "attributes": specs}, FIELDS)
    assert set(facts.attributes) == {
        ("weight", "weight", 240.0),
        ("material", "", "mesh"),
        ("waterproof", "", "yes"),
    }


def test_the_sample_shops_fields() -> None:
    fields = choose_fields(find_fields(MAPPING))
    assert (fields.brand, fields.type, fields.price) == ("brand", "type", "price")
    assert fields.text[0] == "title"


def test_a_category_is_a_type_by_its_last_part() -> None:
    mapping = {"properties": {"title": {"type": "text"}, "category": {"type": "keyword"}}}
    fields = choose_fields(find_fields(mapping))
    source = {"title": "x", "category": "Home > Light > Desk Lamps"}
    assert read_facts("1", source, fields).type == "desk lamps"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "value", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        *("title", "description", "brand", "type", "price", "attributes", "color", "family"),
        *("compatibility", "brand_compatibility", "goes_with", "ean", "other"),
    ]
)


@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_any_document_is_taken(source: dict[str, Any]) -> None:
    facts = read_facts("1", source, FIELDS)
    assert facts.price >= 0
