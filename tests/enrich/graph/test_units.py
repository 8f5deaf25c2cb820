"""Quantities, however they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.enrich.graph.units import TABLE, bare_name, read_number, read_quantity


@pytest.mark.parametrize(
    ("value", "name", "number", "unit"),
    [
        ("1 TB", "", 1000, "GB"),
        ("512MB", "", 0.512, "GB"),
        ('15.6"', "", 39.624, "cm"),
        ("15,6 inch", "", 39.624, "cm"),
        ("300 mm", "", 30, "cm"),
        ("500毫升", "", 500, "ml"),
        ("0.5 l", "", 500, "ml"),
        ("2 lbs", "", 907.184, "g"),
        ("1.2 kg", "", 1200, "g"),
        ("1.5 kW", "", 1500, "W"),
        ("5 Ah", "", 5000, "mAh"),
        ("230 V", "", 230, "V"),
        ("2.4 GHz", "", 2.4e9, "Hz"),
        ("360°", "", 360, "°"),
        (240, "weight_g", 240, "g"),
        (15.6, "display_diagonal", 39.624, "cm"),
        ("1,000", "", 1000, ""),
        (7, "drawers", 7, ""),
        ("-5 °C", "", -5, "°C"),
    ],
)
def test_one_unit_for_each_dimension(value: object, name: str, number: float, unit: str) -> None:
    found = read_quantity(value, name)
    assert found is not None
    assert found.value == pytest.approx(number)
    assert found.unit == unit


@pytest.mark.parametrize("value", ["black", "EU 42", "2 x HDMI", "USB 2.0", "", True, "19 x 10"])
def test_what_is_no_quantity(value: object) -> None:
    assert read_quantity(value) is None


def test_names_without_their_units() -> None:
    assert bare_name("weight_g") == "weight"
    assert bare_name("cable_length") == "cable_length"


@given(
    st.floats(0.001, 1e5).map(lambda x: round(x, 3)),
    st.sampled_from([(u, d) for d, (_, units) in TABLE.items() for u in units]),
)
def test_every_unit_is_read_back(number: float, unit: tuple[str, str]) -> None:
    name, dimension = unit
    found = read_quantity(f"{number} {name}")
    assert found is not None
    assert found.dimension == dimension
    assert found.value == pytest.approx(number * TABLE[dimension][1][name], rel=1e-3, abs=1e-6)


@given(st.text(max_size=30), st.text(max_size=12))
def test_any_text_is_taken(value: str, name: str) -> None:
    read_quantity(value, name)


def test_thousands_and_decimals() -> None:
    told = {"1,5": 1.5, "1,500": 1500, "0,125": 0.125, "2.5": 2.5}
    assert {text: read_number(text) for text in told} == told
