"""Choose from a product's own words those that say most about it, as they stand there.

Sentences, attributes or a title's parts are embedded and chosen by maximal marginal relevance
(Carbonell and Goldstein, SIGIR 1998) against the document's own vector:
argmax lambda cos(s, d) - (1 - lambda) max cos(s, chosen). Nothing is rewritten, so nothing can be
made up, in any language.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from es_rerank.cluster.document import Document, document_text
from es_rerank.enrich.steps.vector import Encoder
from es_rerank.enrich.text.forms import Form
from es_rerank.enrich.text.material import Material
from es_rerank.enrich.text.sentences import join_sentences, shorten

EDITION = 3  # raised when the same text and model give something else
RELEVANCE = 0.85  # lambda
LEAST_RELEVANCE = 1 / 3  # of the best one's: terms of delivery are no second sentence
# What is looked at: about as much as the embedder reads of the document itself.
READ_CHARS = 800
READ_UNITS = 12
LABEL_GAP = " · "


@dataclass(frozen=True)
class Extractive:
    """Picks; is_clean says of a unit whether it may be shown at all.

    use_vector: whether a vector in the patch is this encoder's, and spares embedding the text.
    """

    encoder: Encoder
    text_fields: tuple[str, ...]
    is_clean: Callable[[str], bool]
    use_vector: bool = True

    @property
    def name(self) -> str:
        """The encoder's name."""
        return self.encoder.name

    def write(
        self, form: Form, documents: Sequence[Document], materials: Sequence[Material]
    ) -> list[list[str]]:
        """Choose the units of each document's text, in their own order; none where it has none."""
        chosen: list[list[str]] = []
        wanted: dict[int, list[str]] = {}
        for row, material in enumerate(materials):
            units = list_units(form, material, self.is_clean)
            chosen.append(units)
            if not fits(form, units):
                wanted[row] = units
        if not wanted:
            return chosen
        known = {
            row: np.asarray(documents[row].patch["vector"], np.float32)
            for row in wanted
            if self.use_vector and "vector" in documents[row].patch
        }
        unknown = [row for row in wanted if row not in known]
        whole = [document_text(documents[row].source, self.text_fields) for row in unknown]
        texts = [text for units in wanted.values() for text in units]
        vectors = self.encoder.encode([*whole, *texts])
        known |= {row: vectors[place] for place, row in enumerate(unknown)}
        start = len(whole)
        for row, units in wanted.items():
            own = vectors[start : start + len(units)]
            start += len(units)
            places = choose_units(form, units, own, known[row])
            chosen[row] = [units[place] for place in places]
        return chosen


def list_units(
    form: Form, material: Material, is_clean: Callable[[str], bool] = lambda _: True
) -> list[str]:
    """What may be chosen for a form, in the order of its units, each once."""
    named = [f"{name}: {value}" for name, value in material.attributes]
    offers = {
        "title": [material.title],
        "segments": material.segments(),
        "sentences": list(material.sentences),
        "attributes": named,
        "values": [value for _, value in material.attributes],
        "captions": list(material.captions),
    }
    found: dict[str, str] = {}
    for unit in form.units:
        room = READ_CHARS
        for count, text in enumerate(offers[unit]):
            if count and (len(text) > room or count == READ_UNITS):
                break
            room -= len(text)
            key = text.casefold()
            # In a line or a list of short items, what another holds says nothing new.
            held = form.shape != "sentences" and any(key in other for other in found)
            if text and not held:
                found.setdefault(key, text)
    units = list(found.values())
    if not units or is_clean("\n".join(units)):  # which spares looking at each
        return units
    return [unit for unit in units if is_clean(unit)]


def fits(form: Form, units: Sequence[str]) -> bool:
    """Whether all of it is no longer than wanted, or there is nothing to choose."""
    if form.shape == "list":
        return len(units) <= form.max_items and all(len(u) <= form.max_chars for u in units)
    short = form.shape == "sentences" and len(join_units(form, units)) <= form.max_chars
    return len(units) <= 1 or short


def choose_units(
    form: Form, units: Sequence[str], vectors: NDArray[np.float32], document: NDArray[np.float32]
) -> list[int]:
    """Choose by MMR; vectors (n, d) and document (d,) are unit rows. Returns places, ascending.

    Of a line and of sentences, each further one must fit into what is left of the length.
    """
    # Rounded, so that the last bits, which depend on how a batch was padded, decide nothing.
    relevance = np.round(vectors @ document, 3)
    likeness = np.round(vectors @ vectors.T, 3)
    lengths = np.array([len(unit) for unit in units])
    fit = lengths <= form.max_chars
    if not fit.any():
        fit[:] = True
    gap = len(LABEL_GAP) if form.shape == "line" else 1
    most = 1 if form.shape == "line" and "segments" not in form.units else form.max_items
    chosen: list[int] = []
    while len(chosen) < most and fit.any():
        gain = RELEVANCE * relevance
        if chosen:
            gain = gain - (1 - RELEVANCE) * likeness[:, chosen].max(axis=1)
        best = int(np.argmax(np.where(fit, gain, -np.inf)))
        chosen.append(best)
        left = form.max_chars - int(lengths[chosen].sum()) - gap * len(chosen)
        fit = lengths <= (form.max_chars if form.shape == "list" else left)
        fit &= relevance >= LEAST_RELEVANCE * relevance[chosen[0]]
        fit[chosen] = False
    return sorted(chosen)


def join_units(form: Form, units: Sequence[str]) -> str:
    """The chosen units as one text; of a list, with a line for each."""
    if form.shape == "list":
        return "\n".join(units)
    return LABEL_GAP.join(units) if form.shape == "line" else join_sentences(units)


def lay_out(form: Form, units: Sequence[str]) -> str | list[str] | None:
    """The text in the form's shape, no longer than it may be; None where there is nothing."""
    if form.shape == "list":
        return [shorten(unit, form.max_chars) for unit in units][: form.max_items] or None
    return shorten(join_units(form, units), form.max_chars) or None
