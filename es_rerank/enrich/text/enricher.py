"""The step that gives documents one form of text: read, write, check."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from es_rerank.cluster.document import Document
from es_rerank.enrich.review import Decisions
from es_rerank.enrich.safety.verdict import Safety, Text
from es_rerank.enrich.steps.step import PROVENANCE, StopError, hash_source
from es_rerank.enrich.text.extractive import Extractive, lay_out
from es_rerank.enrich.text.forms import Form
from es_rerank.enrich.text.material import Material, Reading, read_material
from es_rerank.enrich.text.prompt import build_prompt
from es_rerank.models.writer.prompt import Cost, CutShortError, Writer
from es_rerank.review.log import Entry

BULLET = re.compile(r"^\s*(?:[-*•·–‣◦]|\(?\d{1,2}[.)、])\s*")
MISSING: list[str] = ["missing"]
"""Stands, by identity, for a text that a writer did not get to."""
QUOTES = "\"'“”‘’„«»「」`"


@dataclass
class TextEnricher:
    """Adds one form of text.

    backend: what writes it. safety: what it is held to. decisions: what people decided on earlier
    texts, which holds where the source is the same. cost: what it has used of a paid model.
    """

    form: Form
    reading: Reading
    backend: Extractive | Writer
    safety: Safety
    decisions: Decisions | None = None
    cost: Cost = field(default_factory=Cost)

    @property
    def name(self) -> str:
        """The step's name."""
        return self.form.step

    @property
    def is_paid(self) -> bool:
        """Whether each text may cost something."""
        return hasattr(self.backend, "budget")

    def enrich(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        """Write the form for each document that says anything.

        Raises StopError with what is done when the writer can do no more.
        """
        decided = self._look_up(documents)
        patches: list[dict[str, Any] | None] = [
            None if entry is None or entry.text is None else self._decided(entry)
            for entry in decided
        ]
        rows = [row for row, patch in enumerate(patches) if patch is None]
        materials = [read_material(documents[row], self.reading) for row in rows]
        stopped: CutShortError | None = None
        try:
            texts = self._write([documents[row] for row in rows], materials)
        except CutShortError as error:
            stopped = error
            texts = self._written(error.written, materials)
        for row, text, material in zip(rows, texts, materials, strict=True):
            if text is not MISSING:
                patches[row] = self._patch(text, material, decided[row])
        if stopped is not None:
            raise StopError(str(stopped), patches) from stopped
        return [patch for patch in patches if patch is not None]

    def _look_up(self, documents: Sequence[Document]) -> list[Entry | None]:
        """What was decided of each document's text, where it was made of the same source."""
        if self.decisions is None:
            return [None] * len(documents)
        keys = [(document.id, document.routing) for document in documents]
        return [
            entry
            if entry is not None
            and entry.source_hash == hash_source(self.reading.hash_of(document))
            else None
            for entry, document in zip(self.decisions(self.name, keys), documents, strict=True)
        ]

    def _write(
        self, documents: Sequence[Document], materials: Sequence[Material]
    ) -> list[Text | None]:
        form = self.form
        if isinstance(self.backend, Extractive):
            units = self.backend.write(form, documents, materials)
            return [lay_out(form, chosen) for chosen in units]
        # Nothing is asked about a product of which nothing is known.
        rows = [row for row, material in enumerate(materials) if material.facts]
        before = self.backend.cost
        try:
            written = self.backend.write([build_prompt(form, materials[row]) for row in rows])
        finally:
            self.cost += self.backend.cost - before
        texts: list[Text | None] = [None] * len(materials)
        for row, text in zip(rows, written, strict=True):
            texts[row] = tidy(form, text)
        return texts

    def _written(
        self, written: Sequence[str | None], materials: Sequence[Material]
    ) -> list[Text | None]:
        """What a writer has done that was cut short; MISSING for what it did not get to."""
        done = iter(written)
        texts: list[Text | None] = []
        for material in materials:
            text = next(done) if material.facts else ""
            texts.append(MISSING if text is None else tidy(self.form, text))
        return texts

    def _decided(self, entry: Entry) -> dict[str, Any]:
        """The text that a person wanted shown."""
        told = {
            **{"outcome": "passed", "review": entry.decision},
            **{"by": entry.who, "decided": entry.when},
            **({"reasons": entry.reasons} if entry.reasons else {}),
        }
        return {self.form.path: entry.text, PROVENANCE: told}

    def _patch(
        self, text: Text | None, material: Material, decided: Entry | None
    ) -> dict[str, Any]:
        if not text:
            return {}
        copied = isinstance(self.backend, Extractive)
        source = None if copied else material.facts
        judged = self.safety.judge(text, source, self.form.language)
        told = judged.provenance
        refused = decided is not None and decided.before.get("text") == text
        if decided is not None and refused and judged.verdict.outcome != "blocked":
            told |= {"review": decided.decision, "by": decided.who, "decided": decided.when}
            told["draft"] = text
        shown = {self.form.path: text} if judged.is_shown and not refused else {}
        return {**shown, PROVENANCE: told}


def tidy(form: Form, written: str) -> Text | None:
    """What a model wrote in the form's shape: no quotes around it, no bullets, not too long."""
    lines = [BULLET.sub("", line).strip() for line in written.strip().splitlines()]
    lines = [line for line in lines if line]
    if form.shape == "list":
        return lay_out(form, list(dict.fromkeys(lines)))
    text = " ".join(lines)
    if len(text) > 1 and text[0] in QUOTES and text[-1] in QUOTES:
        text = text[1:-1].strip()
    return lay_out(form, [text]) if text else None
