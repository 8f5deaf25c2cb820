"""Pick the one or two sentences that say most about a product, as they stand in its text.

Sentences are embedded and chosen by maximal marginal relevance (Carbonell and Goldstein, SIGIR
1998) against the document's own vector: argmax lambda cos(s, d) - (1 - lambda) max cos(s, chosen).
Nothing is rewritten, so nothing can be made up, in any language.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.cluster.document import (
    Document,
    clean_text,
    document_text,
    read_text,
    read_values,
)
from es_rerank.enrich.steps.vector import Encoder

EDITION = 1  # raised when the same text and model give something else
MAX_CHARS = 200
MAX_SENTENCES = 2
RELEVANCE = 0.85  # lambda
LEAST_RELEVANCE = 1 / 3  # of the best sentence's: terms of delivery are no second sentence
# What is looked at: about as much as the embedder reads of the document itself.
READ_CHARS = 800
READ_SENTENCES = 12
MIN_SENTENCE_CHARS = 15
MIN_WIDE_CHARS = 5  # Chinese, Japanese and Korean say as much in a third of the characters

BLOCK = re.compile(
    r"</?(?:p|br|li|ul|ol|div|h[1-6]|tr|td|table)\b[^<>]*>|[\r\n]+|\s*[•·■▪]\s*", re.I
)
END = re.compile(r"(?<=[.!?…])[\"'”’)]*\s+(?=[^\sa-z])|(?<=[。！？；])[」』”’）]*\s*")
ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|etc|approx|incl|excl|max|min|no|nr|vs|dr|st|mr|mrs|inc|ltd|co|ca"
    r"|in|ft|oz|lb|lbs|dia|qty|usw|z\.b|bzw|inkl|[a-z])\.$",
    re.I,
)
WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")


class SummaryEnricher:
    """Add `summary`: at most two sentences and 200 characters; a short text gives itself."""

    name = "summary"

    def __init__(
        self, encoder: Encoder, text_fields: Sequence[str], *, use_vector: bool = True
    ) -> None:
        """Summarise the fields after the first, or the first where it is the only one.

        use_vector: whether a vector in the patch is this encoder's, and spares embedding the text.
        """
        self._encoder = encoder
        self._text_fields = tuple(text_fields)
        self._fields = tuple(text_fields[1:] or text_fields)
        self._title = text_fields[0] if len(text_fields) > 1 else None
        self._use_vector = use_vector

    def enrich(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        """Embed the sentences of all long texts in one call and choose from them."""
        patches: list[dict[str, Any]] = [{} for _ in documents]
        wanted: dict[int, list[str]] = {}
        for row, document in enumerate(documents):
            sentences = self._sentences(document)
            text = join_sentences(sentences)
            if not text:
                continue
            if len(text) <= MAX_CHARS:
                patches[row] = {"summary": text}
            elif len(sentences) == 1:
                patches[row] = {"summary": shorten(text)}
            else:
                wanted[row] = sentences
        known = {
            row: np.asarray(documents[row].patch["vector"], np.float32)
            for row in wanted
            if self._use_vector and "vector" in documents[row].patch
        }
        unknown = [row for row in wanted if row not in known]
        whole = [document_text(documents[row].source, self._text_fields) for row in unknown]
        sentences = [text for group in wanted.values() for text in group]
        vectors = self._encoder.encode([*whole, *sentences])
        known |= {row: vectors[place] for place, row in enumerate(unknown)}
        start = len(whole)
        for row, group in wanted.items():
            own = vectors[start : start + len(group)]
            start += len(group)
            chosen = choose_sentences(group, own, known[row])
            text = join_sentences([group[place] for place in chosen])
            patches[row] = {"summary": shorten(text)}
        return patches

    def _sentences(self, document: Document) -> list[str]:
        found: dict[str, None] = {}
        room = READ_CHARS
        for path in self._fields:
            for value in read_values(document.source, path):
                for sentence in split_sentences(str(value)[: 4 * READ_CHARS]):
                    if sentence in found:
                        continue
                    if found and (len(sentence) > room or len(found) == READ_SENTENCES):
                        return self._without_title(list(found), document)
                    found[sentence] = None
                    room -= len(sentence)
        return self._without_title(list(found), document)

    def _without_title(self, sentences: list[str], document: Document) -> list[str]:
        title = read_text(document.source, self._title) if self._title else None
        return [sentence for sentence in sentences if sentence != title] or sentences


def split_sentences(text: str) -> list[str]:
    """Split a text, HTML or plain, in any language, into clean sentences.

    Scraps too short to mean anything alone are joined to the sentence before.
    """
    sentences: list[str] = []
    for block in BLOCK.split(text):
        begun = len(sentences)
        for part in END.split(block):
            sentence = clean_text(part)
            if not sentence:
                continue
            continues = len(sentences) > begun and (
                _is_scrap(sentence) or ABBREVIATION.search(sentences[-1])
            )
            if continues:
                sentences[-1] = join_sentences([sentences[-1], sentence])
            else:
                sentences.append(sentence)
    return sentences


def choose_sentences(
    sentences: Sequence[str], vectors: NDArray[np.float32], document: NDArray[np.float32]
) -> list[int]:
    """Choose by MMR; vectors (n, d) and document (d,) are unit rows. Returns places, ascending.

    The second sentence must fit into what the first has left of the length.
    """
    # Rounded, so that the last bits, which depend on how a batch was padded, decide nothing.
    relevance = np.round(vectors @ document, 3)
    likeness = np.round(vectors @ vectors.T, 3)
    lengths = np.array([len(sentence) for sentence in sentences])
    fits = lengths <= MAX_CHARS
    if not fits.any():
        fits[:] = True
    chosen: list[int] = []
    while len(chosen) < MAX_SENTENCES and fits.any():
        gain = RELEVANCE * relevance
        if chosen:
            gain = gain - (1 - RELEVANCE) * likeness[:, chosen].max(axis=1)
        best = int(np.argmax(np.where(fits, gain, -np.inf)))
        chosen.append(best)
        left = MAX_CHARS - int(lengths[chosen].sum()) - len(chosen)
        fits = (lengths <= left) & (relevance >= LEAST_RELEVANCE * relevance[chosen[0]])
        fits[chosen] = False
    return sorted(chosen)


def join_sentences(sentences: Sequence[str]) -> str:
    """Join sentences as their script does: Chinese and Japanese without a space between."""
    text = ""
    for sentence in sentences:
        gap = "" if not text or text[-1] in "。！？；」』" else " "
        text = f"{text}{gap}{sentence}"
    return text


def shorten(text: str) -> str:
    """Cut a text to the summary's length, at a word's end where it has words, with an ellipsis."""
    if len(text) <= MAX_CHARS:
        return text
    cut = text[: MAX_CHARS - 1]
    at = cut.rfind(" ")
    return (cut[:at] if at > MAX_CHARS // 2 else cut).rstrip(" ,;:–-") + "…"


def _is_scrap(sentence: str) -> bool:
    least = MIN_WIDE_CHARS if WIDE.search(sentence) else MIN_SENTENCE_CHARS
    return len(sentence) < least
