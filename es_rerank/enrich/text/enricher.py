"""The step that gives documents one form of text: read, write, check."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from es_rerank.cluster.document import Document
from es_rerank.enrich.safety.verdict import Safety, Text
from es_rerank.enrich.steps.step import PROVENANCE, StopError
from es_rerank.enrich.text.extractive import Extractive, lay_out
from es_rerank.enrich.text.forms import Form
from es_rerank.enrich.text.material import Material, Reading, read_material
from es_rerank.enrich.text.prompt import build_prompt
from es_rerank.models.writer.prompt import Cost, CutShortError, Writer

BULLET = re.compile(r"^\s*(?:[-*•·–‣◦]|\(?\d{1,2}[.)、])\s*")
QUOTES = "\"'“”‘’„«»「」`"


@dataclass
class TextEnricher:
    """Adds one form of text.

    backend: what writes it. safety: what it is held to. cost: what it has used of a paid model.
    """

    form: Form
    reading: Reading
    backend: Extractive | Writer
    safety: Safety
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
        materials = [read_material(document, self.reading) for document in documents]
        try:
            texts: Sequence[Text | None] = self._write(documents, materials)
        except CutShortError as error:
            done = iter(error.written)
            patches = [
                {} if not material.facts else self._patch_of(next(done), material)
                for material in materials
            ]
            raise StopError(str(error), patches) from error
        return [
            self._patch(text, material) for text, material in zip(texts, materials, strict=True)
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

    def _patch_of(self, written: str | None, material: Material) -> dict[str, Any] | None:
        return None if written is None else self._patch(tidy(self.form, written), material)

    def _patch(self, text: Text | None, material: Material) -> dict[str, Any]:
        if not text:
            return {}
        copied = isinstance(self.backend, Extractive)
        source = None if copied else material.facts
        judged = self.safety.judge(text, source, self.form.language)
        shown = {self.form.path: text} if judged.is_shown else {}
        return {**shown, PROVENANCE: judged.provenance}


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
