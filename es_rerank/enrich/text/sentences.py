"""Cut texts into sentences, and join and shorten them, in any language."""

from __future__ import annotations

import re
from collections.abc import Sequence

from es_rerank.cluster.document import clean_text

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
SEGMENT = re.compile(r"\s+[-–—|/]\s+|\s*[|;·•，；、｜]\s*|,\s+")


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


def split_segments(title: str) -> list[str]:
    """Split a title into the parts that its punctuation sets off, each once."""
    parts = (clean_text(part) for part in SEGMENT.split(title))
    return list(dict.fromkeys(part for part in parts if part))


def join_sentences(sentences: Sequence[str]) -> str:
    """Join sentences as their script does: Chinese and Japanese without a space between."""
    text = ""
    for sentence in sentences:
        gap = "" if not text or text[-1] in "。！？；」』" else " "
        text = f"{text}{gap}{sentence}"
    return text


def shorten(text: str, max_chars: int) -> str:
    """Cut a text to that length, at a word's end where it has words, with an ellipsis."""
    if len(text) <= max_chars:
        return text
    cut = text[: max_chars - 1]
    at = cut.rfind(" ")
    return (cut[:at] if at > max_chars // 2 else cut).rstrip(" ,;:–-") + "…"


def _is_scrap(sentence: str) -> bool:
    least = MIN_WIDE_CHARS if WIDE.search(sentence) else MIN_SENTENCE_CHARS
    return len(sentence) < least
