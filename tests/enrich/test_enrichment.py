"""Only what has changed is enriched again, and a document that a step fails on is found out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.cluster.document import Document
from es_rerank.enrich.enrichment import Enrichment
from es_rerank.enrich.sources.source import Record
from es_rerank.enrich.steps.step import Step
from es_rerank.errors import ModelError

Key = tuple[str, str | None]
TIME = "2026-01-01T00:00:00+00:00"


@dataclass
class Double:
    """Doubles `n`; fails on poison."""

    name: str = "double"
    asked: list[str] = field(default_factory=list)

    def enrich(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        if any("poison" in document.source for document in documents):
            raise RuntimeError("bad stuff\nand more")
        self.asked += [document.id for document in documents]
        return [{self.name: 2 * document.source["n"]} for document in documents]


def _step(enricher: Any, recipe: str = "r1") -> Step:
    return Step(enricher, recipe, lambda document: str(document.source.get("n")).encode(), "m")


def _records(*sources: dict[str, Any], indent: int | None = None) -> list[Record]:
    return [
        Record(json.dumps(str(row)).encode(), None, row, json.dumps(source, indent=indent).encode())
        for row, source in enumerate(sources)
    ]


def _shelf(bodies: Sequence[bytes]) -> Any:
    def look_up(keys: Sequence[Key]) -> Mapping[Key, bytes]:
        return {key: bodies[int(key[0])] for key in keys if int(key[0]) < len(bodies)}

    return look_up


def test_what_is_added_and_where_it_comes_from() -> None:
    enrichment = Enrichment([_step(Double())], TIME)
    (body,), failures = enrichment.bodies(_records({"n": 3}))
    assert failures == []
    source = json.loads(body)
    own = source.pop("es_rerank")
    assert (source, own["double"]) == ({"n": 3}, 6)
    origin = own["provenance"]["double"]
    assert len(origin.pop("source_hash")) == 16
    assert origin.pop("version")
    assert origin == {"recipe": "r1", "time": TIME, "fields": ["double"], "model": "m"}


@given(st.lists(st.tuples(st.integers(-99, 99), st.integers(0, 3)), max_size=12), st.data())
def test_only_what_has_changed(values: list[tuple[int, int]], data: st.DataObject) -> None:
    """Another `n` is computed anew; another price keeps the work; and all is as if made anew."""
    sources = [{"n": n, "price": price} for n, price in values]
    before, _ = Enrichment([_step(Double())], TIME).bodies(_records(*sources))
    changed = data.draw(st.sets(st.sampled_from(range(len(sources))))) if sources else set()
    priced = data.draw(st.sets(st.sampled_from(range(len(sources))))) if sources else set()
    now = [
        {"n": s["n"] + (row in changed), "price": s["price"] + (row in priced)}
        for row, s in enumerate(sources)
    ]
    double = Double()
    enrichment = Enrichment([_step(double)], TIME, [_shelf(before)])
    bodies, _ = enrichment.bodies(_records(*now))
    anew, _ = Enrichment([_step(Double())], TIME).bodies(_records(*now))
    assert [json.loads(body) for body in bodies] == [json.loads(body) for body in anew]
    assert double.asked == [str(row) for row in sorted(changed)]
    assert enrichment.enriched == len(changed)
    assert enrichment.reused == len(sources) - len(changed)
    untouched = set(range(len(sources))) - changed - priced
    assert all(bodies[row] == before[row] for row in untouched)  # byte for byte


def test_another_recipe_is_computed_anew_and_the_other_step_kept() -> None:
    first, second = Double("first"), Double("second")
    before, _ = Enrichment([_step(first), _step(second)], TIME).bodies(_records({"n": 1}))
    first, second, third = Double("first"), Double("second"), Double("third")
    steps = [_step(first), _step(second, "r2"), _step(third)]
    (body,), _ = Enrichment(steps, TIME, [_shelf(before)]).bodies(_records({"n": 1}))
    assert (first.asked, second.asked, third.asked) == ([], ["0"], ["0"])
    own = json.loads(body)["es_rerank"]
    assert {own[name] for name in ("first", "second", "third")} == {2}
    # A step that is gone takes its fields with it.
    (body,), _ = Enrichment([_step(first)], TIME, [_shelf([body])]).bodies(_records({"n": 1}))
    assert set(json.loads(body)["es_rerank"]) == {"first", "provenance"}


def test_a_source_that_is_enriched_already_brings_its_work_along() -> None:
    before, _ = Enrichment([_step(Double())], TIME).bodies(_records({"n": 1}))
    double = Double()
    record = Record(b'"0"', None, 0, before[0])
    (body,), _ = Enrichment([_step(double)], "later").bodies([record])
    assert double.asked == []
    assert json.loads(body) == json.loads(before[0])


@given(st.lists(st.booleans(), min_size=1, max_size=7))
def test_poison_is_found_and_the_rest_enriched(poisoned: list[bool]) -> None:
    sources = [{"n": row, **({"poison": 1} if bad else {})} for row, bad in enumerate(poisoned)]
    bodies, failures = Enrichment([_step(Double())], TIME).bodies(_records(*sources))
    assert [failure.id for failure in failures] == [
        str(row) for row, bad in enumerate(poisoned) if bad
    ]
    assert all(failure.step == "double" for failure in failures)
    assert all(failure.reason == "bad stuff" for failure in failures)
    for row, body in enumerate(bodies):
        found = json.loads(body)
        own = found.pop("es_rerank")
        assert found == sources[row]
        assert ("double" in own["provenance"]) is not poisoned[row]


def test_a_step_that_fails_on_everything_ends_the_run() -> None:
    sources = [{"n": row, "poison": 1} for row in range(8)]
    with pytest.raises(ModelError, match="all of 8 documents"):
        Enrichment([_step(Double())], TIME).bodies(_records(*sources))


def test_a_step_that_loses_a_document_is_found_out() -> None:
    class Loses:
        name = "loses"

        def enrich(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
            return [{} for _ in documents[1:]]

    with pytest.raises(ModelError, match="1 patches for 2 documents"):
        Enrichment([_step(Loses())], TIME).bodies(_records({"n": 1}, {"n": 2}))


def test_what_is_no_object_is_written_as_it_is() -> None:
    record = Record(b'"7"', b'"r"', 0, b"[1, \xff]")
    (body,), (failure,) = Enrichment([_step(Double())], TIME).bodies([record])
    assert body == record.raw
    assert (failure.id, failure.routing, failure.step) == ("7", "r", "reading")
