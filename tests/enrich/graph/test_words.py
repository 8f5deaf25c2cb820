"""Titles: what varies is taken out, what they are made for is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.enrich.graph.words import (
    cut_title,
    find_colour,
    find_companions,
    hash_token,
    mask,
    respell,
    split_phrases,
    tokenise,
)


def test_variants_are_the_same_without_what_varies() -> None:
    one = mask("Acme Trail Shoes, Sky Blue, EU 42 (Refurbished)", ["Acme"])
    other = mask("Acme Trail Shoes, Red, EU 38", ["Acme"])
    assert tokenise(one) == tokenise(other) == ["trail", "shoes"]


def test_what_makes_another_model_stays() -> None:
    assert "18v" in tokenise(mask("Drill 18V Black"))
    assert "18v" not in tokenise(mask("Drill 20V Black"))
    assert tokenise(mask("SSD 500 GB")) == tokenise(mask("SSD 1TB")) == ["ssd"]
    assert tokenise(mask("暖灯集灯串 金色 10米", ["暖灯集"])) == ["灯", "串"]


def test_a_brand_inside_a_word_stays() -> None:
    assert tokenise(mask("Hullabaloo by Hull", ["Hull"])) == ["hullabaloo", "by"]


@pytest.mark.parametrize(
    ("title", "named"),
    [
        ("Toner for Phaser 6130, black", ["Phaser 6130"]),
        ("Toner for home, for Phaser 6130 - 2 pcs", ["home", "Phaser 6130"]),
        ("Ink Cartridge for CLC1100/1150 Original", ["CLC1100", "CLC1150"]),
        ("Battery compatible with Nova 5 - 3000 mAh", ["Nova 5"]),
        ("手机壳 适用于星驰数码小方 X1", ["星驰数码小方 X1"]),
        ("Plain kettle", []),
        ("For Phaser 6130", []),
    ],
)
def test_what_a_title_is_made_for(title: str, named: list[str]) -> None:
    assert cut_title(title)[2] == named


def test_the_rest_of_a_title_is_what_it_is_of() -> None:
    head, tail, _ = cut_title("Photo toner for Phaser 6130, black ink")
    assert (head.split(), tail) == (["Photo", "toner"], "Phaser 6130, black ink")


def test_series_and_bare_numbers() -> None:
    assert list(split_phrases("LaserJet 1200, 1220; P1005 & P1006")) == [
        "LaserJet 1200", "LaserJet 1220", "P1005", "P1006",
    ]  # fmt: skip


def test_companions() -> None:
    assert find_companions("Soft. Pairs well with Zeta Orbit 7. Use with care") == [
        "Zeta Orbit 7",
        "care",
    ]


def test_spellings_that_are_one() -> None:
    assert respell("Product Color") == respell("colours") == respell("colour")
    assert respell("gray") == respell("Grey")
    assert respell("glass") == "glass"
    assert find_colour("Shirt Navy and sky blue") == "sky blue"


@given(st.text(max_size=60), st.lists(st.text(max_size=8), max_size=3))
def test_any_title_is_taken(title: str, values: list[str]) -> None:
    tokens = tokenise(mask(title, values))
    head, tail, named = cut_title(title)
    assert len(head) + len(tail) <= len(title)
    assert all(named)
    for token in tokens:
        assert hash_token(token) & 1 == any(char.isdigit() for char in token)


def test_what_may_be_an_article_number() -> None:
    coded = ("6180mfp", "x264a21g", "cat5e")
    assert all(hash_token(token) & 2 for token in coded)
    assert not any(hash_token(token) & 2 for token in ("1200", "shoe", "5g", "17"))
