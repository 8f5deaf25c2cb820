"""What a form reads of a product: title, texts, attributes, captions and images, made harmless."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from es_rerank.cluster.document import Document, read_text, read_values
from es_rerank.enrich.safety.personal import find_personal
from es_rerank.enrich.safety.quantities import KNOWN, NUMBER
from es_rerank.enrich.safety.untrusted import has_link, is_instruction, neutralise, unmask
from es_rerank.enrich.text.sentences import split_segments, split_sentences

READ_CHARS = 4000  # of each text
SHORT_CHARS = 200  # up to which the only text field is a title as well
CAPTIONS = (
    *("image_caption", "image_captions", "caption", "captions", "image_text"),
    *("image_alt", "image_alts", "alt_text", "alt", "图片说明", "图片描述"),
    *("images.caption", "images.alt", "image.caption", "image.alt"),
    *("pictures.caption", "media.caption", "media.alt"),
)
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_\-.]+")


@dataclass(frozen=True)
class Reading:
    """Which fields are read, each by its path; texts hold the title first."""

    texts: tuple[str, ...]
    attributes: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    images: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """Every field that is read."""
        images = () if self.images is None else (self.images,)
        return (*self.texts, *self.attributes, *self.captions, *images)

    def hash_of(self, document: Document) -> bytes:
        """What the material depends on of a document, as bytes."""
        return repr([list(read_values(document.source, path)) for path in self.paths]).encode()


@dataclass(frozen=True)
class Material:
    """What is known of one product. Sentences that give orders instead of facts are left out."""

    title: str
    sentences: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]
    captions: tuple[str, ...]
    images: tuple[str, ...] = ()

    @cached_property
    def facts(self) -> str:
        """All of it, a line each: what a text about the product may say."""
        named = (f"{name}: {value}" for name, value in self.attributes)
        return "\n".join(filter(None, [self.title, *named, *self.sentences, *self.captions]))

    def segments(self) -> list[str]:
        """The parts of the title."""
        return split_segments(self.title)


def read_material(document: Document, reading: Reading) -> Material:
    """Read a product; nothing of its texts is trusted."""
    source = document.source
    title, *others = reading.texts or ("",)
    own = _harmless(read_text(source, title)) if title else ""
    sentences = [s for path in others or [title] for s in _sentences(source, path)]
    if not others and len(own) > SHORT_CHARS:
        own = ""
    sentences = [s for s in sentences if s != own] or sentences
    captions = [s for path in reading.captions for s in _sentences(source, path)]
    attributes = dict(
        name_attribute(path, value)
        for path in reading.attributes
        if (value := _harmless(read_text(source, path)))
    )
    images = read_values(source, reading.images) if reading.images else ()
    return Material(
        own,
        tuple(dict.fromkeys(sentences)),
        tuple(attributes.items()),
        tuple(dict.fromkeys(captions)),
        tuple(str(image) for image in images if str(image).startswith(("http://", "https://"))),
    )


def name_attribute(path: str, value: str) -> tuple[str, str]:
    """A field's name and value for people.

    `frame.colourName`, `red` is `Colour name`, `red`; `weight_g`, `255` is `Weight`, `255 g`.
    """
    words = CAMEL.sub(" ", path.rpartition(".")[2]).lower().split()
    if len(words) > 1 and words[-1] in KNOWN and NUMBER.fullmatch(value):
        value = f"{value} {words.pop()}"
    return " ".join(words).capitalize(), value


def harmless_sentences(values: Iterable[Any]) -> Iterator[str]:
    """The sentences of texts that state something: no orders, no links, nobody's data."""
    for value in values:
        for sentence in split_sentences(str(value)[:READ_CHARS]):
            seen = unmask(sentence)
            if is_instruction(sentence) or has_link(seen) or next(find_personal(seen), None):
                continue
            if harmless := neutralise(sentence):
                yield harmless


def _sentences(source: Mapping[str, Any], path: str) -> Iterator[str]:
    return harmless_sentences(read_values(source, path))


def _harmless(text: str) -> str:
    """A title or a value: all of it where it gives no orders, else those sentences that do not."""
    if is_instruction(text):
        return " ".join(harmless_sentences([text]))
    return neutralise(text)
