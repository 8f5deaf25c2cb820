from __future__ import annotations

from pathlib import Path

import pytest

from es_rerank.errors import DataError
from es_rerank.training.catalogue import (
    Product,
    correct_type,
    load_catalogue,
    read_icecat,
    settle_types,
    spell_value,
)


def test_any_shop_is_read_by_its_fields_names(products: list[Product]) -> None:
    first = products[0]
    assert (first.id, first.brand, first.type) == ("p100", "Acme", "running shoes")
    assert first.certain
    assert first.text == (
        "Acme running shoes red 100. This running shoes for the road all year. Comes in red."
    )
    assert first.attributes["colour"] == ("red",)
    assert first.sentences == ("This running shoes for the road all year",)


def test_values_are_spelt_as_shoppers_do() -> None:
    assert spell_value("waterproof", "yes") == "waterproof"
    assert spell_value("waterproof", "no") == ""
    assert spell_value("cable_length", 5.0) == "5 m"
    assert spell_value("rank", 5.0) == ""
    assert spell_value("colour", "Royal  Blue") == "royal blue"


def test_icecat_types_that_were_guessed_are_not_certain() -> None:
    row = {
        "id": 7,
        "title": "HP 92 Black Original",
        "name": "92",
        "brand": "HP",
        "description": "92 Black Inkjet Print Cartridge",
        "derived_type": "ink cartridge",
        "derived_type_source": "knn",
        "attributes": {"compatibility": "Officejet 5780, Officejet 6310", "colour": True},
    }
    product = read_icecat(row)
    assert (product.type, product.certain) == ("ink cartridge", False)
    assert product.fits == ("officejet 5780", "officejet 6310")
    assert read_icecat({**row, "derived_type_source": "title"}).certain


@pytest.mark.parametrize(
    ("kind", "title", "corrected"),
    [
        ("keyboard usb", "CHERRY keyboard USB Black", ("keyboard", True)),
        ("pc", "HP 550 Notebook PC 39.1 cm", ("notebook", True)),
        ("notebook", "HP 5y Trvl Nbd Notebook only HW Supp", ("warranty/support extension", True)),
        ("radio", "Samsung Galaxy A41 64 GB Dual SIM", ("mobile phone", True)),
    ],
)
def test_known_confusions_are_mended(kind: str, title: str, corrected: tuple[str, bool]) -> None:
    assert correct_type(kind, True, title) == corrected


def test_attributes_that_one_type_alone_has_settle_a_guess() -> None:
    def make(number: int, kind: str, certain: bool, *names: str) -> Product:
        values = dict.fromkeys(names, ("x",))
        return Product(str(number), "t", "t", None, kind, certain, values)

    lamps = [make(i, "lamp", True, "lumen", "colour") for i in range(15)]
    mice = [make(i, "mouse", True, "dpi", "colour") for i in range(15)]
    told, vague, torn = settle_types(
        [
            *lamps,
            *mice,
            make(50, "lamp", False, "lumen"),
            make(51, "lamp", False, "colour"),
            make(52, "lamp", False, "lumen", "dpi"),
        ]
    )[-3:]
    assert told.certain
    assert not vague.certain
    assert not torn.certain


def test_a_folder_without_products_says_what_it_must_hold(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\*\.jsonl"):
        load_catalogue(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n{"id"\n')
    with pytest.raises(DataError, match="line 2 of"):
        load_catalogue(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"id": "1", "sku": "a"}\n')
    with pytest.raises(DataError, match="looks like a title"):
        load_catalogue(tmp_path)
