from __future__ import annotations

import pytest

from es_rerank.datasets.judgments import Judgments
from es_rerank.errors import ConfigError, DataError
from es_rerank.evaluation.collection import Stand, fill_template, make_body, read_template
from es_rerank.evaluation.runs import Endpoint
from es_rerank.evaluation.subject import join_subject

JUDGED = Judgments({"1": {"a": 1.0}, "2": {"b": 1.0}}, notes=("odd",))


def test_words_come_from_the_file_or_the_judgments() -> None:
    found = join_subject(JUDGED, {"1": "lamp", "3": "bag"})
    assert found.queries == {"1": "lamp"}
    assert found.judgments is not None
    assert found.judgments.ratings == {"1": {"a": 1.0}}
    assert found.notes == (
        "odd",
        "1 judged queries have no words and were left out ('2').",
        "1 queries have no judgments and were left out ('3').",
    )
    own = join_subject(Judgments({"lamp": {"a": 1.0}}, {"lamp": "lamp"}), {})
    assert own.queries == {"lamp": "lamp"}


@pytest.mark.parametrize(
    ("queries", "complaint"),
    [({}, "--queries"), ({"lamp": "lamp"}, "its ids must be those of the judgments")],
)
def test_without_words_nothing_can_be_asked(queries: dict[str, str], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        join_subject(JUDGED, queries)


def test_a_draw_is_always_the_same_and_keeps_the_order() -> None:
    queries = {str(i): str(i) for i in range(50)}
    one, two = (join_subject(None, queries, limit=10).queries for _ in range(2))
    assert one == two
    assert list(one) == sorted(one, key=int)
    assert len(one) == 10
    assert join_subject(None, queries, limit=99).queries == queries


def test_templates() -> None:
    body = read_template('{"query": {"match": {"title": "{{query}} new"}}, "size": 3}', "x.json")
    assert fill_template(body, 'a "b"')["query"] == {"match": {"title": 'a "b" new'}}
    assert fill_template(["#$query##", 3, None], "a") == ["a", 3, None]
    for text, complaint in (
        ("{", "no JSON"),
        ("[1]", "must be a search body"),
        ('{"size": 1}', "must be a search body"),
        ('{"query": {"match_all": {}}}', "has no {{query}}"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            read_template(text, "x.json")


def test_our_block_joins_the_templates_and_stays_away_from_the_engine() -> None:
    template = {
        "query": {"match": {"title": "{{query}}"}},
        "from": 20,
        "ext": {"other": {"a": 1}, "es_rerank": {"fields": ["title"], "diversity": 0.5}},
    }
    endpoint = Endpoint("http://127.0.0.1:1")
    stand = Stand(endpoint, endpoint, "products", template)
    straight = make_body(stand, "lamp", None, 10)
    assert straight["ext"] == {"other": {"a": 1}}
    assert (straight["from"], straight["size"]) == (0, 10)
    ours = make_body(stand, "lamp", {"diversity": 0}, 10)
    assert ours["ext"]["es_rerank"] == {"enabled": True, "fields": ["title"], "diversity": 0}
    plain = make_body(Stand(endpoint, None, "p", {"query": {}}), "lamp", None, 1)
    assert "ext" not in plain
