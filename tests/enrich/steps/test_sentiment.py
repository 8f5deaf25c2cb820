"""Reviews of documents as shops have them: texts, objects, files, and what is none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from es_rerank.cluster.document import Document
from es_rerank.cluster.sink import encode_patch
from es_rerank.enrich.steps.aspects import (
    AspectFinder,
    choose_aspects,
    default_aspects,
    split_clauses,
)
from es_rerank.enrich.steps.build import build_steps
from es_rerank.enrich.steps.recipe import Recipe
from es_rerank.enrich.steps.reviews import Shape, find_reviews
from es_rerank.enrich.steps.step import Step
from es_rerank.errors import ConfigError
from es_rerank.models.sentiment.lexicon import read_opinions


class ByWords:
    """A reader of a line: the sign of the words of opinion."""

    name = identity = "by-words"

    def read(self, texts: Sequence[str]) -> NDArray[np.float64]:
        sums = [sum(hit.weight for hit in read_opinions(text).hits) for text in texts]
        rows = {1: (0.1, 0.1, 0.8), 0: (0.2, 0.6, 0.2), -1: (0.8, 0.1, 0.1)}
        return np.array([rows[int(np.sign(each))] for each in sums]).reshape(-1, 3)


def make_step(**wish: Any) -> Step:
    (step,) = build_steps(
        Recipe.model_validate({"sentiment": wish}),
        ("title",),
        model="m",
        load_encoder=lambda _: None,  # type: ignore[arg-type, return-value]
        load_enricher=lambda *_: None,
        load_sentiment=lambda _: ByWords(),
    )
    return step


def make_document(source: dict[str, Any], key: str = "1") -> Document:
    return Document(key, None, json.dumps(source).encode(), source)


def enrich(source: dict[str, Any], **wish: Any) -> dict[str, Any]:
    (patch,) = make_step(**wish).enricher.enrich([make_document(source)])
    found: dict[str, Any] = patch.get("sentiment", {})
    return found


REVIEWS = [
    {"rating": 5, "text": "Great sound, and the battery lasts for days."},
    {"rating": 4, "text": "Love it. Fast delivery."},
    {"rating": 1, "text": "The battery died after a week. Terrible."},
    {"rating": 3, "text": "It is a lamp."},
]


def test_a_products_reviews_become_figures() -> None:
    found = enrich({"reviews": REVIEWS}, prior=4)
    assert found["count"] == 4
    assert (found["positive"], found["neutral"], found["negative"]) == (2, 1, 1)
    assert found["polarity"] == pytest.approx((0.7 + 0.7 + 0 - 0.7) / 4, abs=1e-3)
    assert found["mean"] == pytest.approx(0.7 / 8, abs=1e-3)
    assert found["confidence"] == pytest.approx((0.8 * 3 + 0.6) / 4 / 2, abs=1e-3)
    assert found["stars"] == 3.25
    aspects = {aspect["name"]: aspect for aspect in found["aspects"]}
    assert {"sound", "battery", "delivery"} <= set(aspects)
    assert found["aspects"][0]["name"] == "battery"
    battery = aspects["battery"]
    assert (battery["count"], battery["positive"], battery["negative"]) == (2, 1, 1)
    assert battery["praise"] == "Great sound, and the battery lasts for days."
    assert battery["blame"] == "The battery died after a week."
    assert "blame" not in aspects["delivery"]
    encode_patch({"sentiment": found})


def test_few_reviews_count_for_less() -> None:
    one = enrich({"reviews": REVIEWS[:1]})
    many = enrich({"reviews": [{"text": f"Great sound {i}."} for i in range(50)]})
    assert one["polarity"] == many["polarity"]
    assert 0 < one["mean"] < many["mean"] < many["polarity"]
    assert one["confidence"] < many["confidence"]
    assert enrich({"reviews": REVIEWS[:1]}, prior=0)["mean"] == one["polarity"]
    assert enrich({"reviews": REVIEWS[:1]}, prior_mean=0.7)["mean"] == one["polarity"]


def test_chinese_reviews() -> None:
    found = enrich({"评论": ["音质很好，就是续航太差。", "物流快，很满意"]})
    aspects = {aspect["name"]: aspect for aspect in found["aspects"]}
    assert aspects["sound"]["praise"] == "音质很好"
    assert aspects["battery"]["blame"] == "就是续航太差。"
    assert aspects["delivery"]["polarity"] > 0


@pytest.mark.parametrize(
    "source",
    [
        {},
        {"reviews": None},
        {"reviews": []},
        {"reviews": [{}, {"rating": 5}, {"text": None}, {"text": 7}, {"text": "<br>"}, 3, True]},
        {"reviews": {"text": {"deep": ["no"]}}},
        {"review_count": 3},
    ],
)
def test_products_without_a_review_are_left_alone(source: dict[str, Any]) -> None:
    assert enrich(source) == {}


def test_hostile_reviews_fail_nothing() -> None:
    texts = [
        "great " * 200_000,
        "\x00\ud800 bad",
        "<script>alert(1)</script> good",
        "=1+1",
        "\u202e",
    ]
    found = enrich({"reviews": [{"text": text, "rating": "1e999"} for text in texts]})
    assert found["count"] == 4
    assert "stars" not in found
    told = json.dumps(found)
    assert "<script>" not in told
    assert all(len(aspect.get("praise", "")) <= 120 for aspect in found["aspects"])


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["text", "rating", "title", "a"]), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_any_value_can_stand_there(value: Any) -> None:
    for seen in find_reviews({"reviews": value}, Shape(), 10):
        assert seen.text
        assert seen.stars is None or 0 <= seen.stars <= 10


def test_shapes_of_reviews() -> None:
    def texts(source: dict[str, Any], **shape: str) -> list[str]:
        return [seen.text for seen in find_reviews(source, Shape(**shape), 10)]

    assert texts({"reviews": "One text"}) == ["One text"]
    assert texts({"reviews": {"text": "Alone"}}) == ["Alone"]
    assert texts({"customer_reviews": [{"title": "Wow", "body": "Good."}]}) == ["Wow\nGood."]
    assert texts({"reviews": [{"text": "a b c"}, {"text": "a b c"}]}) == ["a b c"]
    assert texts({"p": {"r": [{"t": {"en": "x y"}}]}}, field="p.r", text="t.en") == ["x y"]
    assert texts({"reviews": [{"text": str(i)} for i in range(30)]}) == [str(i) for i in range(10)]


def test_a_step_reads_the_reviews_alone() -> None:
    step = make_step()

    def digest(source: dict[str, Any]) -> str:
        return step.hash(make_document(source))

    base = digest({"title": "a", "reviews": REVIEWS})
    assert digest({"title": "b", "price": 3, "reviews": REVIEWS}) == base
    assert digest({"title": "a", "reviews": REVIEWS[:2]}) != base
    assert make_step().recipe == step.recipe
    for other in (make_step(prior=1), make_step(aspects={"zip": ["zipper"]}), make_step(model="m")):
        assert other.recipe != step.recipe


def test_reviews_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "reviews.jsonl"
    rows: list[Any] = [
        {"product_id": "a", "text": "Great lamp.", "rating": 5},
        {"product_id": "b", "text": "Terrible."},
        {"product_id": 7, "text": "Awful smell."},
        {"text": "of nothing"},
        ["no object"],
    ]
    lines = "\n".join(map(json.dumps, rows)) + "\nno json\n"
    file.write_text(lines, encoding="utf-8")
    step = make_step(reviews=str(file))
    documents = [
        make_document({}, "a"),
        make_document({"reviews": ["Love it."]}, "b"),
        make_document({}, "7"),
        make_document({}, "c"),
    ]
    patches = step.enricher.enrich(documents)
    counts = [patch.get("sentiment", {}).get("count") for patch in patches]
    assert counts == [1, 2, 1, None]
    (patch,) = make_step(reviews=str(file), id_field="sku").enricher.enrich(
        [make_document({"sku": "a"}, "x")]
    )
    assert patch["sentiment"]["positive"] == 1

    file.write_text(lines.replace("Great", "Good"), encoding="utf-8")
    assert make_step(reviews=str(file)).recipe != step.recipe
    with pytest.raises(ConfigError, match=r"no line of .* has a text and the product"):
        make_step(reviews=str(file), product_field="sku").enricher.enrich(documents)
    with pytest.raises(ConfigError, match="name a JSONL file"):
        make_step(reviews=str(tmp_path / "absent.jsonl"))


def test_aspects_can_be_added_and_taken_out() -> None:
    chosen = choose_aspects({"zip": ["zipper", "拉链"], "price": ["euro*"], "taste": []})
    assert "taste" in default_aspects()
    assert "taste" not in chosen
    finder = AspectFinder(chosen)
    assert finder.find("The ZIPPER is stuck") == ["zip"]
    assert finder.find("拉链坏了") == ["quality", "zip"]
    assert finder.find("twenty euros") == ["price"]
    assert finder.find("not a word of it") == []
    assert "fit" in finder.find("It fits well")
    assert "fit" not in finder.find("a fitness band")  # a word, not its beginning


def test_clauses() -> None:
    assert split_clauses("Nice sound, but the battery is weak. Cheap!\nOk") == [
        "Nice sound",
        "but the battery is weak.",
        "Cheap!",
    ]
    assert split_clauses("外观漂亮，但是质量太差。推荐！") == [
        "外观漂亮",
        "但是质量太差。",
        "推荐！",
    ]
    assert len(split_clauses("so good. " * 500)) == 40
