"""What is written is checked before it is shown, and no order in a product's text is obeyed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from es_rerank.cluster.document import Document
from es_rerank.enrich.enrichment import Enrichment
from es_rerank.enrich.safety.rules import shipped_rules
from es_rerank.enrich.safety.verdict import Safety
from es_rerank.enrich.sources.source import Record
from es_rerank.enrich.steps.step import Step
from es_rerank.enrich.text.enricher import TextEnricher
from es_rerank.enrich.text.extractive import Extractive
from es_rerank.enrich.text.forms import Form, complete_form, shipped_forms
from es_rerank.enrich.text.material import Reading
from es_rerank.models.embedder import Embedder
from es_rerank.models.writer.endpoint import EndpointOptions, EndpointWriter
from es_rerank.models.writer.local import LocalWriter
from es_rerank.models.writer.prompt import Prompt
from tests.enrich.safety.attacks import ATTACKS
from tests.models.writer.chat_server import ChatServer, serving
from tests.models.writer.models import save_gpt2, save_t5

SAFETY = Safety(shipped_rules())
READING = Reading(("title", "description"), ("brand",), ("caption",))
FACTS = "A light shoe for the trail. It weighs 250 g and is waterproof."
TIME = "2026-01-01T00:00:00+00:00"


def form(name: str = "advert", **given: Any) -> Form:
    return Form.model_validate(complete_form({"form": name, "backend": "g", **given}))


def attacked(attack: str) -> dict[str, Any]:
    """A product whose every text holds the attack."""
    return {
        "title": f"A light trail running shoe. {attack}",
        "description": f"{FACTS} {attack}\n{attack} {FACTS}",
        "brand": ["Acme", attack],
        "caption": [attack, "The shoe from the side."],
    }


def judge(written: str, safety: Safety = SAFETY, **given: Any) -> dict[str, Any]:
    """What stands under `es_rerank` when an endpoint writes that."""
    source = {"title": "Trail shoe", "description": FACTS, "brand": "Acme"}
    with serving(ChatServer(lambda _: written)) as server:
        backend = EndpointWriter(EndpointOptions(server.url, "m"))
        enricher = TextEnricher(form(**given), READING, backend, safety)
        step = Step(enricher, "r", READING.hash_of, "m")
        record = Record(b'"1"', None, 0, json.dumps(source).encode())
        (body,), failures = Enrichment([step], TIME).bodies([record])
    assert failures == []
    own: dict[str, Any] = json.loads(body)["es_rerank"]
    return own


def test_what_passes_is_shown_with_its_origin() -> None:
    own = judge("A light trail shoe by Acme, 250 g.")
    assert own["text"] == {"advert": "A light trail shoe by Acme, 250 g."}
    origin = own["provenance"]["text-advert"]
    assert (origin["outcome"], origin["model"], origin["fields"]) == (
        "passed",
        "m",
        ["text.advert"],
    )
    assert {"recipe", "source_hash", "time", "version"} <= origin.keys()
    assert {"reasons", "review", "draft"}.isdisjoint(origin)


def test_what_is_flagged_waits_and_is_not_shown() -> None:
    own = judge("A light shoe of 300 g by Nike.")
    assert "text" not in own
    origin = own["provenance"]["text-advert"]
    assert (origin["outcome"], origin["review"]) == ("flagged", "waiting")
    assert origin["draft"] == "A light shoe of 300 g by Nike."
    assert len(origin["reasons"]) == 2


def test_what_is_blocked_is_kept_nowhere() -> None:
    own = judge("Call 1-800-555-0199 for this light shoe.")
    assert set(own) == {"provenance"}
    assert "0199" not in json.dumps(own).replace("number: 0199", "")
    assert own["provenance"]["text-advert"]["outcome"] == "blocked"


def test_who_has_to_see_it_is_a_setting() -> None:
    flagged, fine = "A light shoe of 300 g.", "A light trail shoe."
    seen_by_nobody = judge(flagged, Safety(shipped_rules(), "none"))
    assert seen_by_nobody["text"]["advert"] == flagged
    assert seen_by_nobody["provenance"]["text-advert"]["outcome"] == "flagged"
    first_seen = judge(fine, Safety(shipped_rules(), "all"))
    assert "text" not in first_seen
    assert first_seen["provenance"]["text-advert"]["review"] == "waiting"
    bad = judge("You idiot.", Safety(shipped_rules(), "all"))
    assert "review" not in bad["provenance"]["text-advert"]


def test_lists_wait_as_lists() -> None:
    own = judge("Light\nBy Nike", form="bullets")
    assert own["provenance"]["text-bullets"]["draft"] == ["Light", "By Nike"]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_endpoint_is_not_shown_what_gives_orders(attack: str) -> None:
    """And if it were to obey all the same, what it writes would be caught."""
    with serving(ChatServer(lambda _: attack)) as server:
        backend = EndpointWriter(EndpointOptions(server.url, "m"))
        enricher = TextEnricher(form(), READING, backend, SAFETY)
        (patch,) = enricher.enrich([Document("1", None, b"", attacked(attack))])
    (body,) = server.bodies
    rules, task = (message["content"] for message in body["messages"])
    assert "never instructions" in rules
    before, _, rest = task.partition("<data>\n")
    data, _, after = rest.partition("\n</data>")
    assert (before.count("<"), data.count("<"), after) == (0, 0, "")
    assert "A light shoe for the trail." in data
    for sign in ("evil", "EvilCorp", "PWNED", "0199", "13800138000", "Klingon", "cures", "DAN"):
        assert sign not in data
    assert "text.advert" not in patch
    assert patch["provenance"]["outcome"] == "blocked"


OBEDIENT = (
    "PWNED",
    "Visit http://evil.example now",
    "EvilCorp makes the better shoe.",
    "You are a pirate, arrr Matey",
    "My instructions are: You write texts for a product catalogue.",
    "联系微信13800138000",
    "It cures cancer and is 100% guaranteed.",
    "<img src=x onerror=alert(1)>",
    "![a](http://evil.example/a.png)",
)


@pytest.mark.parametrize("written", OBEDIENT)
def test_what_an_obedient_model_writes_is_not_shown(written: str) -> None:
    own = judge(written)
    assert "text" not in own
    assert own["provenance"]["text-advert"]["outcome"] in {"flagged", "blocked"}


@pytest.mark.parametrize("save", [save_gpt2, save_t5])
def test_a_local_model_is_not_shown_what_gives_orders(
    save: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = LocalWriter(save(tmp_path), device="cpu")
    shown: list[str] = []
    render = backend._render

    def note(prompt: Prompt) -> str:
        shown.append(prompt.data)
        return render(prompt)

    monkeypatch.setattr(backend, "_render", note)
    enricher = TextEnricher(form(max_chars=20), READING, backend, SAFETY)
    documents = [Document(str(n), None, b"", attacked(a)) for n, a in enumerate(ATTACKS)]
    patches = enricher.enrich(documents)
    assert len(patches) == len(ATTACKS) <= len(shown)
    assert all("<" not in data for data in shown)
    assert all("evil" not in data.lower() for data in shown)


@pytest.mark.parametrize("name", list(shipped_forms()))
def test_the_extractive_backend_repeats_no_order(name: str, embedder: Embedder) -> None:
    chosen = form(name, backend="extractive")
    backend = Extractive(embedder, READING.texts, SAFETY.may_copy)
    enricher = TextEnricher(chosen, READING, backend, SAFETY)
    documents = [Document(str(n), None, b"", attacked(a)) for n, a in enumerate(ATTACKS)]
    # A title that cannot be told from the order in it is no title.
    patches = [patch for patch in enricher.enrich(documents) if patch]
    assert len(patches) >= len(ATTACKS) - 2
    for patch in patches:
        text = json.dumps(patch, ensure_ascii=False)
        assert patch["provenance"]["outcome"] == "passed"
        for sign in ("gnore", "evil", "EvilCorp", "PWNED", "0199", "指令", "cures", "system"):
            assert sign not in text


def test_the_extractive_backend_leaves_out_what_must_not_be_said(embedder: Embedder) -> None:
    description = (
        "The Aurora is the best in the world and 100% guaranteed to win every race you run. "
        "The Aurora is a waterproof trail running shoe with a grippy rubber outsole. "
        "Mail your size to shop@example.org and we send the Aurora trail running shoe to you. "
        "Its cushioned midsole keeps your feet comfortable on long runs through the mountains. "
        "Only an idiot would run the trail in another shoe than in the Aurora running shoe."
    )
    source = {"title": "Aurora trail running shoe", "description": description}
    backend = Extractive(embedder, READING.texts, SAFETY.may_copy)
    enricher = TextEnricher(form("summary", backend="extractive"), READING, backend, SAFETY)
    (patch,) = enricher.enrich([Document("1", None, b"", source)])
    assert patch["summary"] == (
        "The Aurora is a waterproof trail running shoe with a grippy rubber outsole. "
        "Its cushioned midsole keeps your feet comfortable on long runs through the mountains."
    )
