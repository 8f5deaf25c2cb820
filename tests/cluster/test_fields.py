"""Field detection, from mappings as shops have them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from es_rerank.cluster.fields import IndexFields, find_fields, merge_fields

TEXT = {"type": "text"}
DYNAMIC = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}
KEYWORD = {"type": "keyword"}


def test_catalogue_mapping() -> None:
    fields = find_fields(
        {
            "properties": {
                "id": KEYWORD,
                "title": TEXT,
                "name": TEXT,
                "brand": KEYWORD,
                "description": TEXT,
                "price_usd": {"type": "float"},
                "image": KEYWORD,
                "derived_type": KEYWORD,
                "ean": KEYWORD,
            }
        }
    )
    assert fields == IndexFields(
        ("title", "name", "description"), ("brand", "derived_type"), "price_usd", None, None, None
    )


def test_dynamic_mapping_takes_attributes_from_keyword_sub_fields() -> None:
    properties = dict.fromkeys(["url", "brand", "productName", "reviews", "color"], DYNAMIC)
    fields = find_fields({"properties": properties})
    assert fields.text == ("productName",)
    assert fields.attributes == ("brand", "color")


def test_the_body_is_not_crowded_out_by_titles() -> None:
    properties = dict.fromkeys(["title", "name", "headline", "product_name", "description"], TEXT)
    assert find_fields({"properties": properties}).text == ("title", "name", "description")


def test_dotted_paths_of_objects_and_nested() -> None:
    fields = find_fields(
        {
            "properties": {
                "product": {"properties": {"title": TEXT, "brand": KEYWORD}},
                "offer": {"type": "nested", "properties": {"sale_price": {"type": "double"}}},
                "review": {"type": "nested", "properties": {"title": TEXT, "body": TEXT}},
                "hidden": {"type": "object", "enabled": False, "properties": {"name": TEXT}},
            }
        }
    )
    assert fields.text == ("product.title",)
    assert fields.attributes == ("product.brand",)
    assert fields.price == "offer.sale_price"


def test_languages_as_suffix_and_as_object() -> None:
    suffix = find_fields({"properties": {"description_de": TEXT, "title_pt_br": TEXT}})
    assert suffix.text == ("title_pt_br", "description_de")
    nested = find_fields({"properties": {"title": {"properties": {"en": TEXT, "zh": TEXT}}}})
    assert nested.text == ("title.en", "title.zh")


def test_names_in_other_languages() -> None:
    chinese = {"商品描述": TEXT, "标题": TEXT, "商品评论": TEXT, "品牌": KEYWORD, "图片": KEYWORD}
    fields = find_fields({"properties": {**chinese, "价格": {"type": "scaled_float"}}})
    assert (fields.text, fields.attributes, fields.price) == (
        ("标题", "商品描述"),
        ("品牌",),
        "价格",
    )
    spanish = find_fields({"properties": {"Título": TEXT, "descripción": TEXT, "Marca": DYNAMIC}})
    assert (spanish.text, spanish.attributes) == (("Título", "descripción"), ("Marca",))


def test_unknown_names_are_better_than_none() -> None:
    fields = find_fields({"properties": {"foo": TEXT, "image_url": TEXT, "colour": TEXT}})
    assert fields.text == ("foo",)


def test_meta_wins_and_what_it_leaves_out_is_found() -> None:
    mappings: dict[str, Any] = {
        "_meta": {"es_rerank": {"text_fields": ["foo"], "model": "all-MiniLM-L6-v2"}},
        "properties": {
            "foo": TEXT,
            "title": TEXT,
            "brand": KEYWORD,
            "price": {"type": "float"},
            "es_rerank": {
                "properties": {
                    "title": TEXT,
                    "vector": {"type": "knn_vector", "dimension": 384},
                    "code": {"type": "binary", "doc_values": True},
                }
            },
        },
    }
    assert find_fields(mappings) == IndexFields(
        *(("foo",), ("brand",), "price", "es_rerank.vector", "es_rerank.code", "all-MiniLM-L6-v2"),
        named=("text",),
    )
    mappings["_meta"]["es_rerank"].update(attribute_fields=["title"], price_field=None)
    mappings["_meta"]["es_rerank"].update(template="{foo}")
    everything = find_fields(mappings)
    assert (everything.attributes, everything.price) == (("title",), None)
    assert (everything.recipe, everything.named) == ("{foo}", ("text", "attributes", "price"))
    mappings["_meta"]["es_rerank"]["recipe"] = {"text": ["foo"]}
    assert find_fields(mappings).recipe == '{"text": ["foo"]}'


def test_merge_keeps_order_and_drops_models_that_disagree() -> None:
    one = IndexFields(("title",), ("brand",), None, "es_rerank.vector", "es_rerank.code", "a")
    two = IndexFields(("name", "title"), ("type",), "price", None, None, None)
    assert merge_fields([one, two]) == IndexFields(
        ("title", "name"), ("brand", "type"), "price", "es_rerank.vector", "es_rerank.code", "a"
    )
    other = IndexFields((), (), None, None, None, "b")
    assert merge_fields([one, other]).model is None
    assert merge_fields([]) == IndexFields((), (), None, None, None, None)
    told = replace(one, recipe="{title}", named=("text", "price"))
    assert merge_fields([told, replace(told, named=("text",))]).named == ("text",)
    assert merge_fields([told, two]).recipe == "{title}"
    assert merge_fields([told, replace(two, recipe="{name}")]).recipe is None


NAMES = st.sampled_from(
    ["title", "name", "en", "id", "brand", "type", "price", "reviews", "标题", "x", "es_rerank"]
)
LEAVES = st.sampled_from(
    [TEXT, DYNAMIC, KEYWORD, {"type": "float"}, {"type": "alias", "path": "x"}, {"type": "binary"}]
)
PROPERTIES = st.recursive(
    st.dictionaries(NAMES, LEAVES, max_size=5),
    lambda inner: st.dictionaries(NAMES, inner.map(lambda p: {"properties": p}), max_size=3),
    max_leaves=6,
)


def _paths(properties: dict[str, Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, spec in properties.items():
        if "properties" in spec:
            found |= _paths(spec["properties"], f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


@given(PROPERTIES)
def test_found_fields_are_in_the_mapping(properties: dict[str, Any]) -> None:
    fields = find_fields({"properties": properties})
    paths = _paths(properties)
    named = [*fields.text, *fields.attributes, *filter(None, [fields.price, fields.code])]
    assert set(named) <= paths
    assert len(set(fields.text)) == len(fields.text) <= 3
    assert len(set(fields.attributes)) == len(fields.attributes) <= 6
    assert not any("reviews" in path.split(".") for path in fields.text + fields.attributes)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=10,
)


@given(JSON, JSON, JSON)
def test_odd_mappings_never_raise(properties: Any, meta: Any, own: Any) -> None:
    find_fields({"properties": properties, "_meta": meta})
    find_fields({"properties": properties, "_meta": {"es_rerank": own}})
