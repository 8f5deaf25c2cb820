"""The flow: every document once, in order, with its own patch; errors end the run."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.cluster.document import Document
from es_rerank.cluster.sink import Failure
from es_rerank.enrich.pipeline import Outcome, cut_batches, enrich_documents, run_pipeline


def _documents(count: int) -> list[Document]:
    return [Document(str(number), None, b"{}", {"n": number}) for number in range(count)]


class Double:
    name = "double"

    def enrich(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        return [{"double": 2 * document.source["n"]} for document in documents]


class AddOne:
    """Builds on what the step before it found."""

    name = "add"

    def enrich(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        return [{"sum": document.patch["double"] + 1} for document in documents]


@dataclass
class Shelf:
    """A sink in memory that refuses some documents."""

    refused: frozenset[str] = frozenset()
    held: list[Document] = field(default_factory=list)

    def write(self, documents: Iterable[Document]) -> Iterator[Failure | None]:
        for document in documents:
            if document.id in self.refused:
                yield Failure(document.id, 400, "refused", "for the test")
            else:
                self.held.append(document)
                yield None


@given(st.integers(0, 50), st.integers(1, 20), st.frozensets(st.integers(0, 50).map(str)))
def test_each_document_once_in_order(count: int, batch_size: int, refused: frozenset[str]) -> None:
    shelf = Shelf(refused)
    shown: list[Outcome] = []
    failed: list[Failure] = []
    outcome = run_pipeline(
        _documents(count),
        [Double(), AddOne()],
        shelf.write,
        batch_size=batch_size,
        on_progress=shown.append,
        on_failure=failed.append,
    )
    wanted = [number for number in range(count) if str(number) not in refused]
    assert [document.id for document in shelf.held] == [str(number) for number in wanted]
    expected = [{"double": 2 * number, "sum": 2 * number + 1} for number in wanted]
    assert [document.patch for document in shelf.held] == expected
    assert outcome == Outcome(count, len(wanted), count - len(wanted))
    assert len(failed) == outcome.failed
    assert [step.read for step in shown] == sorted(step.read for step in shown)
    assert not shown or shown[-1] == outcome


@given(st.integers(0, 40), st.integers(1, 15))
def test_batches_cut_nothing_off(count: int, size: int) -> None:
    batches = list(cut_batches(_documents(count), size))
    assert [document for batch in batches for document in batch] == _documents(count)
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(0 < len(batch) <= size for batch in batches)


def test_writing_goes_on_while_the_next_batch_is_enriched() -> None:
    next_begun = threading.Event()

    class Watched:
        name = "watched"

        def enrich(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
            if documents[0].id == "1":
                next_begun.set()
            return [{} for _ in documents]

    def write(documents: Iterable[Document]) -> Iterator[None]:
        for document in documents:
            if document.id == "0":
                assert next_begun.wait(10), "the second batch waited for the first to be written"
            yield None

    assert run_pipeline(_documents(2), [Watched()], write, batch_size=1).written == 2


@pytest.mark.parametrize("failing", ["source", "enricher", "sink"])
def test_an_error_of_any_side_comes_through(failing: str) -> None:
    def source() -> Iterator[Document]:
        yield from _documents(3)
        if failing == "source":
            raise RuntimeError("source")

    class Steps:
        name = "steps"

        def enrich(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
            if failing == "enricher":
                raise RuntimeError("enricher")
            return [{} for _ in documents]

    def write(documents: Iterable[Document]) -> Iterator[None]:
        if failing == "sink":
            raise RuntimeError("sink")
        yield from (None for _ in documents)

    with pytest.raises(RuntimeError, match=failing):
        run_pipeline(source(), [Steps()], write, batch_size=1)


def test_a_step_that_loses_a_document_is_found_out() -> None:
    class Loses:
        name = "loses"

        def enrich(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
            return [{} for _ in documents[1:]]

    with pytest.raises(ValueError, match="zip"):
        enrich_documents(_documents(2), [Loses()])
