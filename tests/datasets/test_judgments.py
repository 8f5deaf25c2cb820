from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.datasets.judgments import Judgments, read_judgments
from es_rerank.errors import DataError

TREC = "301 0 a 2\n301 0 b 0\n302 0 c 1\n"
CSV = "query,docid,rating\ndesk lamp,a,3\ndesk lamp,b,0\nbag,c,1\n"
LTR = "3 qid:7 # a desk lamp\n0 qid:7 # b desk lamp\n1 qid:9 1:0.5 2:3 # c bag\n"
RATINGS = {"queries": [{"query": "desk lamp", "ratings": {"a": 3, "b": 0.0}}]}
CASE = {"case_name": "x", "queries": [{"query_text": "desk lamp", "ratings": {"a": 3, "b": 0}}]}
RRE = {
    "id_field": "id",
    "queries": [
        {"placeholders": {"$query": "desk lamp"}, "relevant_documents": {"3.0": ["a"], "0": ["b"]}}
    ],
}
BOOK = {
    "name": "x",
    "query_doc_pairs": [
        {
            "query_text": "desk lamp",
            "doc_id": "a",
            "judgements": [
                {"rating": 3.0, "unrateable": False},
                {"rating": 2.0, "judge_later": False},
                {"rating": None, "unrateable": True},
            ],
        },
        {"query_text": "desk lamp", "doc_id": "b", "judgements": []},
    ],
}


def read(tmp_path: Path, content: Any, name: str = "judgments", **options: Any) -> Judgments:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_judgments(path, **options)


def test_trec_has_ids_and_no_texts(tmp_path: Path) -> None:
    found = read(tmp_path, TREC)
    assert found.ratings == {"301": {"a": 2, "b": 0}, "302": {"c": 1}}
    assert (found.queries, found.subtopics, found.notes) == ({}, {}, ())


def test_trec_with_intents(tmp_path: Path) -> None:
    found = read(tmp_path, "q1 rain a 3\nq1 rain b 1\nq1 city a 2\nq1 city c 0\n")
    assert found.ratings == {"q1": {"a": 3, "b": 1, "c": 0}}
    assert found.subtopics == {"q1": {"a": ["rain", "city"], "b": ["rain"]}}


@pytest.mark.parametrize(
    "text",
    [
        CSV,
        CSV.replace(",", ";"),
        CSV.replace(",", "\t"),
        CSV.replace("query,docid,rating", "User,QUERY,Doc_ID,Gain").replace("\n", "\nx,", 3)[:-2],
        "\ufeff" + CSV,
        CSV.replace("\n", "\r\n"),
    ],
)
def test_csv_in_its_many_forms(tmp_path: Path, text: str) -> None:
    if text.startswith("User"):
        text = "user,QUERY,Doc_ID,Gain\n1,desk lamp,a,3\n1,desk lamp,b,0\n2,bag,c,1\n"
    found = read(tmp_path, text)
    assert found.ratings == {"desk lamp": {"a": 3, "b": 0}, "bag": {"c": 1}}
    assert found.queries == {"desk lamp": "desk lamp", "bag": "bag"}


def test_a_line_of_quepids_without_a_rating_is_noted(tmp_path: Path) -> None:
    found = read(tmp_path, CSV + "sofa\nbag,d,\n =odd,e,2\n")
    assert found.ratings["=odd"] == {"e": 2}
    assert "sofa" in found.queries
    assert "sofa" not in found.ratings
    assert found.notes == (
        f"2 entries of {tmp_path / 'judgments'} have no rating, and were left out "
        "(Line 5, Line 6).",
    )


def test_ltr_carries_the_words(tmp_path: Path) -> None:
    found = read(tmp_path, LTR)
    assert found.ratings == {"7": {"a": 3, "b": 0}, "9": {"c": 1}}
    assert found.queries == {"7": "desk lamp", "9": "bag"}


@pytest.mark.parametrize("content", [RATINGS, CASE, RRE])
def test_quepids_ratings_cases_and_rre(tmp_path: Path, content: Any) -> None:
    found = read(tmp_path, content)
    assert found.ratings == {"desk lamp": {"a": 3, "b": 0}}
    assert found.queries == {"desk lamp": "desk lamp"}


def test_a_quepid_books_judgements_are_averaged(tmp_path: Path) -> None:
    found = read(tmp_path, BOOK)
    assert found.ratings == {"desk lamp": {"a": 2.5}}
    assert "Entry 2" in found.notes[0]


def test_gzip(tmp_path: Path) -> None:
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(CSV.encode()))
    assert read_judgments(path).ratings["bag"] == {"c": 1}


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("1 0 a 1\n1 0 a 1\n", "1 entries of .* repeat .*Line 2"),
        ("1 0 a 1\n1 0 b -2\n", "hold a negative rating, which counts as 0 .Line 2"),
        ("1 0 a 1\n2 0 b 0\n", "1 of 2 queries have no rating above 0.*'2'"),
    ],
)
def test_what_is_odd_is_noted(tmp_path: Path, text: str, note: str) -> None:
    import re

    assert re.search(note, " ".join(read(tmp_path, text).notes))


@pytest.mark.parametrize(
    ("text", "options", "complaint"),
    [
        ("1 0 a 1\n1 0 a 2\n", {}, "Line 2 .*second time and differently: keep one"),
        ("1 0 a 1\n1 0 b\n", {}, "Line 2 .*has 3 columns"),
        ("1 0 a 1\n1 0 b good\n", {}, "Line 2 .*rating 'good': write a number"),
        ("query,docid,rating\nx,a,good\n", {}, "Line 2 .*rating 'good'"),
        ("query,docid,rating\n,a,1\n", {}, "Line 2 .*names no query"),
        ("query,rating\nx,1\n", {}, "no column for the document.*call one 'docid'"),
        ("query,docid,rating\n", {}, "holds no rating"),
        ("3 qid:1 # a b\nnonsense\n", {}, "Line 2 .*not `rating qid"),
        ("hello world\n", {}, "no known form.*hello world.*--format"),
        ("", {}, "no known form"),
        ('{"a": 1}', {}, "none of Quepid's exports"),
        ('{"queries": [', {}, "is no JSON"),
        ('{"queries": [{"ratings": {"a": 1}}]}', {}, "Entry 1 .*no `query`"),
        ('{"queries": [3]}', {}, "Entry 1 .*no object"),
        ('{"query_doc_pairs": [{"doc_id": "a"}]}', {}, "Entry 1 .*lacks"),
        (TREC, {"kind": "csv"}, "no column for the query"),
    ],
)
def test_what_is_wrong_is_named_with_its_mend(
    tmp_path: Path, text: str, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint):
        read(tmp_path, text, **options)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_judgments(tmp_path / "no")


WORD = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=8)


@given(st.dictionaries(WORD, st.dictionaries(WORD, st.integers(0, 4), min_size=1), min_size=1))
def test_every_form_says_the_same(
    tmp_path_factory: pytest.TempPathFactory, ratings: dict[str, dict[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("forms")
    rows = [(q, d, r) for q, rated in ratings.items() for d, r in rated.items()]
    forms = {
        "trec": "".join(f"{q} 0 {d} {r}\n" for q, d, r in rows),
        "csv": "query,docid,rating\n" + "".join(f"{q},{d},{r}\n" for q, d, r in rows),
        "ltr": "".join(f"{r} qid:{q} # {d}\n" for q, d, r in rows),
        "quepid": json.dumps({"queries": [{"query": q, "ratings": ratings[q]} for q in ratings]}),
    }
    for kind, text in forms.items():
        path = folder / kind
        path.write_text(text, encoding="utf-8")
        assert read_judgments(path).ratings == ratings, kind
