"""A form is written by any backend; one that can do no more leaves what it has done."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from es_rerank.cluster.document import Document
from es_rerank.enrich.enrichment import Enrichment
from es_rerank.enrich.safety.rules import shipped_rules
from es_rerank.enrich.safety.verdict import Safety
from es_rerank.enrich.sources.source import Record
from es_rerank.enrich.steps.build import build_steps
from es_rerank.enrich.steps.recipe import Recipe
from es_rerank.enrich.steps.step import Step, StopError
from es_rerank.enrich.text.enricher import TextEnricher, tidy
from es_rerank.enrich.text.forms import Form, complete_form
from es_rerank.enrich.text.material import Reading
from es_rerank.models.writer.endpoint import EndpointOptions, EndpointWriter
from es_rerank.models.writer.local import LocalWriter
from tests.models.writer.chat_server import ChatServer, serving
from tests.models.writer.models import save_gpt2, save_t5

SAFETY = Safety(shipped_rules(), "none")
TIME = "2026-01-01T00:00:00+00:00"
TITLES = ["red shoe", "blue hat", "", "red hat", "blue shoe"]


def form(**given: Any) -> Form:
    return Form.model_validate(complete_form({"form": "advert", "backend": "g", **given}))


def records(titles: Sequence[str]) -> list[Record]:
    bodies = [json.dumps({"title": title, "brand": "Acme"} if title else {}) for title in titles]
    return [Record(b'"%d"' % row, None, row, body.encode()) for row, body in enumerate(bodies)]


def echo(body: dict[str, Any]) -> str:
    """The product's title."""
    lines: list[str] = body["messages"][1]["content"].splitlines()
    return next(line.removeprefix("Title: ") for line in lines if line.startswith("Title: "))


@pytest.mark.parametrize("save", [save_gpt2, save_t5])
def test_a_local_model_writes(save: Callable[[Path], str], tmp_path: Path) -> None:
    backend = LocalWriter(save(tmp_path), device="cpu")
    enricher = TextEnricher(form(max_chars=40), Reading(("title",), ("brand",)), backend, SAFETY)
    documents = [Document(str(n), None, b"", {"title": t}) for n, t in enumerate(TITLES)]
    patches = enricher.enrich(documents)
    outcomes = {patch["provenance"]["outcome"] for patch in patches if patch}
    assert outcomes
    assert outcomes <= {"passed", "flagged", "blocked"}
    assert patches[2] == {}
    assert all(len(patch.get("text.advert", "")) <= 40 for patch in patches)
    assert enricher.enrich(documents) == patches


def step_of(enricher: TextEnricher) -> Step:
    return Step(enricher, "r", enricher.reading.hash_of, enricher.backend.name)


def test_a_budget_that_ends_keeps_what_is_done_and_goes_on_from_there() -> None:
    with serving(ChatServer(echo)) as server:

        def enrichment(**options: Any) -> Enrichment:
            backend = EndpointWriter(
                EndpointOptions(server.url, "m", concurrency=1, first_pause_s=0.01, **options)
            )
            return Enrichment(
                [step_of(TextEnricher(form(), Reading(("title",), ("brand",)), backend, SAFETY))],
                TIME,
            )

        first = enrichment(budget_tokens=500)
        bodies, failures = first.bodies(records(TITLES))
        assert failures == []
        assert isinstance(first.stopped, StopError)
        assert "budget" in str(first.stopped)
        own = [json.loads(body)["es_rerank"] for body in bodies]
        done = [row for row, found in enumerate(own) if "text" in found]
        assert [own[row]["text"]["advert"] for row in done] == [TITLES[row] for row in done]
        assert 1 <= len(done) < 4
        assert [row for row in range(5) if "text-advert" in own[row]["provenance"]] == (
            sorted({*done, 2})
        )
        asked = len(server.bodies)
        second = enrichment()
        second.look_ups = [lambda keys: {key: bodies[int(key[0])] for key in keys}]
        again, _ = second.bodies(records(TITLES))
        assert second.stopped is None
        assert len(server.bodies) == asked + 4 - len(done)  # what is paid for is not paid again
    assert [json.loads(body)["es_rerank"].get("text", {}).get("advert", "") for body in again] == (
        TITLES
    )


def test_what_is_nested_is_taken_over() -> None:
    with serving(ChatServer(echo)) as server:
        backend = EndpointWriter(EndpointOptions(server.url, "m"))
        reading = Reading(("title",))
        steps = [
            step_of(TextEnricher(form(name=name), reading, backend, SAFETY))
            for name in ("one", "two")
        ]
        bodies, _ = Enrichment(steps, TIME).bodies(records(TITLES[:2]))
        own = json.loads(bodies[0])["es_rerank"]
        assert own["text"] == {"one": "red shoe", "two": "red shoe"}
        assert own["provenance"]["text-one"]["fields"] == ["text.one"]
        changed = Step(steps[1].enricher, "other", reading.hash_of)
        anew = Enrichment([steps[0], changed], TIME, [lambda keys: {keys[0]: bodies[0]}])
        asked = len(server.bodies)
        (body,), _ = anew.bodies(records(TITLES[:1]))
        assert len(server.bodies) == asked + 1
        assert json.loads(body)["es_rerank"]["text"] == own["text"]


@pytest.mark.parametrize(
    ("shape", "written", "text"),
    [
        ("line", ' "A red shoe."\n', "A red shoe."),
        ("line", "- One\n- Two", "One Two"),
        ("line", "", None),
        ("list", "1. Light\n2) Strong\n• Light\n\n- Light", ["Light", "Strong"]),
        ("sentences", "“好鞋。”", "好鞋。"),
        ("sentences", "x" * 99 + " " + "y" * 99, "x" * 99 + "…"),
    ],
)
def test_what_models_put_around_a_text_is_taken_off(
    shape: str, written: str, text: str | list[str] | None
) -> None:
    assert tidy(form(shape=shape, max_chars=120), written) == text


def test_steps_are_built_of_a_recipe() -> None:
    recipe = Recipe.model_validate(
        {
            "vector": {},
            "summary": {},
            "text": [
                {"form": "bullets"},
                {"form": "advert", "backend": "g", "language": "de"},
                {"form": "care", "prompt": "How to care for it.", "backend": "g"},
            ],
            "generators": {"g": {"kind": "endpoint", "url": "http://h/v1", "model": "big"}},
        }
    )
    made: list[str] = []

    def load_writer(generator: Any) -> Any:
        made.append(generator.model)
        return EndpointWriter(EndpointOptions(generator.url, generator.model))

    def hashes(recipe: Recipe) -> dict[str, str]:
        steps = build_steps(
            recipe,
            ("title", "body"),
            model="mini",
            load_encoder=lambda _: None,  # type: ignore[arg-type, return-value]
            load_enricher=lambda *_: None,
            attribute_fields=("brand",),
            load_writer=load_writer,
        )
        assert [step.model for step in steps] == ["mini", "mini", "mini", "big", "big"]
        return {step.name: step.recipe for step in steps}

    found = hashes(recipe)
    assert list(found) == ["vector", "summary", "text-bullets", "text-advert_de", "text-care"]
    assert made == ["big"]  # once for both forms
    values = recipe.model_dump()
    values["generators"]["g"].update(concurrency=2, budget_tokens=9)
    assert hashes(Recipe.model_validate(values)) == found
    values["generators"]["g"]["temperature"] = 1.0
    other = hashes(Recipe.model_validate(values))
    assert {name for name in found if found[name] != other[name]} == {
        "text-advert_de",
        "text-care",
    }
