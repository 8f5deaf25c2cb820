"""Summaries say what the text says, in its own words and order."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.cluster.document import Document
from es_rerank.enrich.safety.rules import shipped_rules
from es_rerank.enrich.safety.verdict import Safety
from es_rerank.enrich.steps.vector import VectorEnricher
from es_rerank.enrich.text.enricher import TextEnricher
from es_rerank.enrich.text.extractive import Extractive, choose_units, join_units, lay_out
from es_rerank.enrich.text.forms import Form, complete_form
from es_rerank.enrich.text.material import Reading
from es_rerank.enrich.text.sentences import join_sentences, split_sentences
from es_rerank.models.embedder import Embedder

SAFETY = Safety(shipped_rules(), "none")
FIELDS = ("title", "description")
SUMMARY = Form.model_validate(complete_form({"form": "summary"}))
MAX_CHARS = SUMMARY.max_chars
LONG = (
    "Free delivery on all orders over 50 euro within the country. "
    "The Aurora X2 is a waterproof trail running shoe with a grippy rubber outsole. "
    "Please read the terms and conditions before you order. "
    "Its cushioned midsole and breathable mesh upper keep your feet comfortable on long runs. "
    "Our company was founded in 1987 and has offices in nine cities."
)
LONG_ZH = (
    "全场满五十元包邮,请在下单前阅读本店条款。"
    "这款极光跑鞋采用防水鞋面和防滑橡胶大底,适合越野跑步。"
    "我们的公司成立于一九八七年,在九个城市设有办公室,欢迎前来参观选购各类商品并咨询客服人员了解更多详情。"
    "加厚缓震中底和透气网面让您在长距离跑步时双脚依然舒适,尺码齐全,颜色多样,男女同款,送礼自用都很合适。"
    "如有任何问题请随时联系客服,我们会在二十四小时之内回复您的消息并给出满意的解决方案,谢谢您的支持与理解。"
)


def _enrich(embedder: Embedder, *sources: dict[str, Any]) -> list[dict[str, Any]]:
    documents = [Document(str(n), None, json.dumps(s).encode(), s) for n, s in enumerate(sources)]
    vectors = VectorEnricher(embedder, FIELDS).enrich(documents)
    documents = [
        dataclasses.replace(document, patch=patch)
        for document, patch in zip(documents, vectors, strict=True)
    ]
    return _write(embedder, SUMMARY, documents)


def _write(
    embedder: Embedder,
    form: Form,
    documents: list[Document],
    fields: tuple[str, ...] = FIELDS,
    attributes: tuple[str, ...] = (),
) -> list[dict[str, Any]]:
    backend = Extractive(embedder, fields, SAFETY.may_copy)
    captions = ("caption",)
    return TextEnricher(form, Reading(fields, attributes, captions), backend, SAFETY).enrich(
        documents
    )


def test_the_product_is_chosen_not_the_shop(embedder: Embedder) -> None:
    (patch,) = _enrich(embedder, {"title": "Aurora X2 trail running shoe", "description": LONG})
    assert patch["summary"] == (
        "The Aurora X2 is a waterproof trail running shoe with a grippy rubber outsole. "
        "Its cushioned midsole and breathable mesh upper keep your feet comfortable on long runs."
    )


def test_chinese_sentences(embedder: Embedder) -> None:
    (patch,) = _enrich(embedder, {"title": "极光越野跑鞋", "description": LONG_ZH})
    summary = patch["summary"]
    assert len(summary) <= MAX_CHARS
    assert summary.endswith("。")
    sentences = split_sentences(LONG_ZH)
    assert len(sentences) == 5
    picked = [sentence for sentence in sentences if sentence in summary]
    assert join_sentences(picked) == summary
    assert len(picked) in (1, 2)


def test_short_texts_give_themselves_and_nothing_gives_nothing(embedder: Embedder) -> None:
    title = "Toner"
    descriptions: list[Any] = [
        "<p>Black toner.</p>",
        None,
        "Toner",
        ["One.", "Two."],
        "红鞋。好穿。",
    ]
    patches = _enrich(embedder, *({"title": title, "description": d} for d in descriptions), {})
    assert [patch.get("summary") for patch in patches] == [
        "Black toner.",
        None,
        "Toner",
        "One. Two.",
        "红鞋。好穿。",
        None,
    ]


def test_one_endless_sentence_is_cut(embedder: Embedder) -> None:
    (patch,) = _enrich(embedder, {"title": "Cable", "description": "copper wire, " * 100})
    assert patch["summary"].endswith("wire…")
    assert MAX_CHARS / 2 < len(patch["summary"]) <= MAX_CHARS


def test_the_only_text_field_is_summarised(embedder: Embedder) -> None:
    source = {"body": LONG}
    document = Document("1", None, b"{}", source)
    (patch,) = VectorEnricher(embedder, ("body",)).enrich([document])
    document = dataclasses.replace(document, patch=patch)
    (summary,) = _write(embedder, SUMMARY, [document], ("body",))
    assert summary["summary"] in LONG or "Aurora" in summary["summary"]


def test_it_does_not_depend_on_the_company_kept(embedder: Embedder) -> None:
    source = {"title": "Aurora X2 trail running shoe", "description": LONG}
    (alone,) = _enrich(embedder, source)
    others = [{"title": "x", "description": LONG_ZH}, {"title": "y", "description": LONG * 3}]
    assert _enrich(embedder, *others, source)[-1] == alone


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It has e.g. Two handles. No. 5 fits.", ["It has e.g. Two handles. No. 5 fits."]),
        (
            "It weighs about 1.5 kg. It fits approx. Ten cups at a time! Does it? It surely does.",
            [
                "It weighs about 1.5 kg.",
                "It fits approx. Ten cups at a time! Does it?",
                "It surely does.",
            ],
        ),
        (
            "<ul><li>Made of oak wood</li><li>Lasts a lifetime</li></ul>",
            ["Made of oak wood", "Lasts a lifetime"],
        ),
        ("第一句话在这里。第二句话在这里！好", ["第一句话在这里。", "第二句话在这里！好"]),
        ("", []),
    ],
)
def test_splitting(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(st.lists(st.text(alphabet="ab c.。!<>\n", max_size=20)).map("".join))
def test_splitting_loses_no_letter(text: str) -> None:
    sentences = split_sentences(text)
    assert all(sentence.strip() == sentence != "" for sentence in sentences)
    if "<" not in text:
        assert "".join("".join(sentences).split()) == "".join(text.split())


UNIT = st.lists(st.floats(-1, 1), min_size=3, max_size=3).map(
    lambda row: np.array([*row, 0.1]) / np.linalg.norm([*row, 0.1])
)


@given(
    st.lists(st.tuples(st.integers(1, 300), UNIT), min_size=1, max_size=8),
    UNIT,
)
def test_the_choice_fits(rows: list[tuple[int, Any]], document: Any) -> None:
    sentences = ["x" * length for length, _ in rows]
    vectors = np.array([vector for _, vector in rows], dtype=np.float32)
    chosen = choose_units(SUMMARY, sentences, vectors, document.astype(np.float32))
    assert 1 <= len(chosen) <= 2
    assert chosen == sorted(set(chosen))
    text = lay_out(SUMMARY, [sentences[place] for place in chosen])
    assert isinstance(text, str)
    assert len(text) <= MAX_CHARS
    if len(chosen) == 2:
        assert not text.endswith("…")


SHOE: dict[str, Any] = {
    "title": "Aurora X2 - trail running shoe, waterproof, men",
    "description": LONG,
    "brand": "Tarnwick",
    "colour": "black",
    "frame": {"shoeSize": "42"},
    "caption": ["The shoe from the side.", "Its outsole with deep lugs."],
}
ATTRIBUTES = ("brand", "colour", "frame.shoeSize")


@pytest.mark.parametrize("name", ["title", "bullets", "advert", "label", "tags", "answer", "image"])
def test_each_form_that_comes_along_says_what_is_there(embedder: Embedder, name: str) -> None:
    form = Form.model_validate(complete_form({"form": name}))
    document = Document("1", None, b"{}", SHOE)
    (patch,) = _write(embedder, form, [document], attributes=ATTRIBUTES)
    text = patch[f"text.{name}"]
    items = text if isinstance(text, list) else [text]
    assert isinstance(text, list) == (form.shape == "list")
    assert 1 <= len(items) <= form.max_items
    assert all(0 < len(item) <= form.max_chars for item in items)
    attributes = "Brand: Tarnwick Colour: black Shoe size: 42"
    known = " ".join([SHOE["title"], LONG, *SHOE["caption"], attributes]).split()
    words = [word.strip(" ·,") for item in items for word in item.split()]
    assert {word for word in words if word} <= {word.strip(",") for word in known}


def test_what_the_forms_are_like(embedder: Embedder) -> None:
    def write(name: str, source: dict[str, Any]) -> Any:
        form = Form.model_validate(complete_form({"form": name}))
        document = Document("1", None, b"{}", source)
        (patch,) = _write(embedder, form, [document], attributes=ATTRIBUTES)
        return patch.get(f"text.{name}")

    assert write("image", SHOE) == "The shoe from the side. Its outsole with deep lugs."
    assert write("image", {"title": "x"}) is None
    assert "Tarnwick" in write("tags", SHOE)
    assert "Shoe size: 42" in write("answer", SHOE)
    assert write("title", {"title": "Road bike"}) == "Road bike"
    assert len(write("title", {"title": ", ".join(f"very long part {n}" for n in range(9))})) <= 70


def test_joining_is_as_long_as_it_was_counted() -> None:
    line = Form.model_validate(complete_form({"form": "label"}))
    assert join_units(line, ["a", "b"]) == "a · b"
    bullets = Form.model_validate(complete_form({"form": "bullets"}))
    assert lay_out(bullets, ["a", "b"]) == ["a", "b"]
    assert lay_out(bullets, []) is None
