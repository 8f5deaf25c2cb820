"""The sample catalogue: what was promised of it, and that the script makes what is shipped."""

from __future__ import annotations

import re
import urllib.parse
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from es_rerank.demo import sample
from es_rerank.demo.catalogue.__main__ import main
from es_rerank.demo.catalogue.files import DATA, SEED, differing, make_files, read_file, write_files

REAL_BRANDS = """
adidas nike puma asics reebok salomon garmin apple samsung sony bose jbl sennheiser philips bosch
makita dewalt lego ikea logitech dell lenovo hp asus acer xiaomi huawei dyson braun nivea loreal
tefal zwilling wmf delonghi fender yamaha roland casio brita stanley hilti ryobi gardena husqvarna
kong purina royal canin duracell anker belkin razer corsair
华为 小米 李宁 安踏 联想 美的 苏泊尔 海尔
"""
CHINESE = re.compile(r"[\u4e00-\u9fff]")
WORDS = re.compile(r"[A-Za-z]{4,}")


@pytest.fixture(scope="module")
def products() -> list[dict[str, Any]]:
    return sample.load_products(with_reviews=False)


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    return make_files(SEED)


@pytest.mark.timeout(30)
def test_the_script_makes_what_is_shipped(made: dict[str, bytes]) -> None:
    assert differing(made, DATA) == []
    assert sorted(made) == sorted(path.name for path in DATA.iterdir())


def test_shipped_size() -> None:
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 8_000_000


def test_another_seed_makes_another_shop(made: dict[str, bytes]) -> None:
    assert make_files(SEED + 1)["products.jsonl.gz"] != made["products.jsonl.gz"]


def test_check_finds_a_changed_file(made: dict[str, bytes], tmp_path: Path) -> None:
    write_files(made, tmp_path)
    assert CliRunner().invoke(main, ["--check", "--out", str(tmp_path)]).exit_code == 0
    assert read_file("qrels.txt", tmp_path) == made["qrels.txt"]
    (tmp_path / "qrels.txt").write_text("q01 0 p00001 3\n")
    result = CliRunner().invoke(main, ["--check", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "qrels.txt" in result.output


def test_counts_and_shares(products: list[dict[str, Any]]) -> None:
    assert len(products) >= 2400
    assert len({p["id"] for p in products}) == len(products)
    assert len({p["department"] for p in products}) == 12
    assert len({p["brand"] for p in products}) >= 80
    assert len({p["type"] for p in products}) >= 80
    assert len({p["seller"] for p in products}) >= 40
    chinese = sum(p["language"] == "zh" for p in products) / len(products)
    assert chinese == pytest.approx(0.15, abs=0.01)
    assert {p["condition"] for p in products} == {"new", "refurbished", "used"}
    reviews = sum(p["review_count"] for p in products) / len(products)
    assert reviews == pytest.approx(8, abs=0.1)


def test_brands_are_fictional(products: list[dict[str, Any]]) -> None:
    for brand in {p["brand"].lower() for p in products}:
        assert not {brand, *brand.split()}.intersection(REAL_BRANDS.split()), brand


def test_chinese_products_are_chinese(products: list[dict[str, Any]]) -> None:
    for product in products:
        text = f"{product['title']} {product['description']} {product['brand']}"
        if product["language"] == "en":
            assert not CHINESE.search(text)
            continue
        assert CHINESE.search(product["title"])
        assert not (set(WORDS.findall(text)) - {"Plus", "Tritan"}), text
        for value in product["attributes"].values():
            assert not isinstance(value, str) or not WORDS.search(value.replace("Tritan", ""))


def test_texts_are_finished(products: list[dict[str, Any]]) -> None:
    for product in products:
        text = product["title"] + product["description"]
        assert "lorem" not in text.lower()
        assert not re.search(r"[{}|]{2}|\{|\}|=yes| None\b|  ", text), text
        assert len(product["description"]) > 40
        assert 0.98 < product["price"] < 2500
    assert len({p["description"] for p in products}) > 1000


def test_an_attribute_is_always_a_number_or_always_a_word(products: list[dict[str, Any]]) -> None:
    kinds = defaultdict(set)
    for product in products:
        for name, value in product["attributes"].items():
            kinds[name].add(isinstance(value, str))
    assert {name for name, words in kinds.items() if len(words) > 1} == set()


def test_pictures_are_small_drawings(products: list[dict[str, Any]]) -> None:
    for uri in {p["image"] for p in products}:
        assert len(uri) < 1200
        head, _, body = uri.partition(",")
        assert head == "data:image/svg+xml"
        root = ET.fromstring(urllib.parse.unquote(body))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(root) >= 3
    assert len({p["image"] for p in products}) > 200


def test_variants_and_copies_crowd_the_shop(products: list[dict[str, Any]]) -> None:
    families = defaultdict(list)
    for product in products:
        families[product["family"]].append(product)
    sizes = Counter(min(len(members), 7) for members in families.values())
    assert sizes[7] > 30
    assert sizes[1] > 200
    several = [members for members in families.values() if len(members) > 1]
    assert sum(len({m["seller"] for m in ms}) > 1 for ms in several) > 100
    assert sum(len({m["brand"] for m in ms}) > 1 for ms in several) > 50
    assert sum(len({(m.get("colour"), m.get("size")) for m in ms}) > 1 for ms in several) > 100
    assert max(Counter(p["title"] for p in products).values()) > 2
    for members in several:
        assert len({m["type"] for m in members}) == 1


def test_prices_for_quantities_fall(products: list[dict[str, Any]]) -> None:
    tiers = [p for p in products if p["bulk_prices"]]
    assert len(tiers) > 200
    for product in tiers:
        prices = [product["price"], *(tier["price"] for tier in product["bulk_prices"])]
        assert prices == sorted(prices, reverse=True)
    assert any(p["min_order"] > 1 for p in products)


def test_accessories_fit_real_products(products: list[dict[str, Any]]) -> None:
    names = {f"{p['brand']} {p['title']}" for p in products}
    joined = "\n".join(names)
    listed = {model for p in products for model in p["compatibility"]}
    assert len(listed) > 30
    brands = {p["brand"] for p in products}
    assert all(any(model.startswith(brand) for brand in brands) for model in listed)
    assert sum(model in joined for model in listed) > len(listed) / 3  # stuffed titles omit models


def test_reviews_say_what_they_rate() -> None:
    reviews = sample.load_reviews()
    assert len({r["review_id"] for r in reviews}) == len(reviews)
    mixed = 0
    for review in reviews:
        signs = review["aspects"].values()
        assert signs and set(signs) <= {1, -1}
        assert review["template"] and review["text"]
        mixed += len(set(signs)) == 2
        if review["rating"] >= 4:
            assert sum(signs) > 0
        if review["rating"] <= 2:
            assert sum(signs) < 0
        if set(signs) == {1}:
            assert review["rating"] >= 4
        if set(signs) == {-1}:
            assert review["rating"] <= 2
    assert 0.2 < mixed / len(reviews) < 0.6
    stars = Counter(review["rating"] for review in reviews)
    assert all(stars[n] > 0.04 * len(reviews) for n in (1, 2, 3, 4, 5))
