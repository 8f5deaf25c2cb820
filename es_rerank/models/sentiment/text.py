"""A review's text, which anybody may have written: clean, and of bounded length."""

from __future__ import annotations

import html
import re
from typing import Any

MAX_CHARS = 2000
"""Read of a review at most: its beginning and its end, where the verdict stands."""
HEAD_CHARS = 1400
ENCODED_CHARS = 600
"""The same of what an encoder reads."""
ENCODED_HEAD = 340
MAX_RAW, RAW_HEAD = 20_000, 14_000  # characters that are looked at before a text is cleaned
BREAK = re.compile(r"<(?:br|/?p|/?div|/?li)\b[^<>]{0,200}>|[\r\n\u2028\u2029]+", re.I)
TAG = re.compile(r"</?[a-zA-Z][^<>]{0,2000}>|<!--.{0,2000}?-->", re.DOTALL)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
ELLIPSIS = "\n…\n"


def clean_review(value: Any) -> str:
    """A review's text without HTML, control characters and runs of space, lines parted by `\\n`.

    Anything but text is none. Of a long one the beginning and the end are kept.
    """
    if not isinstance(value, str):
        return ""
    text = cut_middle(value, MAX_RAW, RAW_HEAD)
    if "<" in text:
        text = TAG.sub(" ", BREAK.sub("\n", text))
    if "&" in text:
        text = html.unescape(text)
    text = CONTROL.sub("", text).encode("utf-8", "ignore").decode("utf-8")
    lines = [" ".join(line.split()) for line in BREAK.split(text)]
    return cut_middle("\n".join(filter(None, lines)), MAX_CHARS, HEAD_CHARS)


def cut_middle(text: str, most: int, head: int) -> str:
    """The text where it has at most `most` characters, else its first `head` and its last ones."""
    if len(text) <= most:
        return text
    return text[:head] + ELLIPSIS + text[head + len(ELLIPSIS) - most :]


def encoded_part(text: str) -> str:
    """What an encoder reads of a clean review, on one line."""
    return cut_middle(text, ENCODED_CHARS, ENCODED_HEAD).replace("\n", " ")
