"""Names in a text that its source does not have: brands, models, makers, places."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

# Words of Latin script, with what holds them together: XJ-900, O'Neill, AT&T.
WORD = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ\d]+(?:['’&.\-/][A-Za-zÀ-ÖØ-öø-ÿ\d]+)*")
INSIDE = re.compile(r"(?<=[a-zß-öø-ÿ])[A-ZÀ-ÖØ-Þ]|[A-Za-z]\d|\d[A-Za-z]{3,}|^[A-ZÀ-ÖØ-Þ]{2,}$")
SENTENCE_END = ".!?:;。！？：；\n·•|"
PARTS = re.compile(r"['’&.\-/]")
ENDINGS = ("'s", "’s", "es", "s")
NOUNS = frozenset({"de", "german", "deutsch", "lb"})
"""Languages that begin every noun with a capital, which then tells nothing."""
WIDE = re.compile(r"[\u4e00-\u9fff]")


def find_unfounded_names(
    text: str, source: str, openers: Collection[str], language: str | None = None
) -> Iterator[str]:
    """Yield each name in a text that its source lacks.

    A name is a word that begins with a capital, holds one, or holds digits; in Chinese any word of
    Latin script. openers: words that begin sentences and name nothing.
    """
    known = fold_words(source)
    whole = source.casefold()
    nouns = (language or "").lower().partition("-")[0] in NOUNS
    wide = WIDE.search(text) is not None
    for match in WORD.finditer(text):
        word = match[0]
        if word.replace(".", "").isdigit() or not any(char.isalpha() for char in word):
            continue
        if not (_is_name(word, nouns=nouns) or (wide and len(word) > 1)):
            continue
        folded = word.casefold()
        if folded in known or folded in whole or _stem(folded) in known:
            continue
        if all(part in known or _stem(part) in known for part in PARTS.split(folded) if part):
            continue
        if re.fullmatch(r"\d+[a-z]{1,3}", folded):
            continue  # a quantity, which is checked as such
        begins = not text[: match.start()].rstrip(" \"'“‘(«„") or (
            text[: match.start()].rstrip(" \"'“‘(«„")[-1] in SENTENCE_END
        )
        plain = INSIDE.search(word) is None
        if plain and (folded in openers or _stem(folded) in openers) and (begins or nouns):
            continue
        yield word


def fold_words(text: str) -> set[str]:
    """The words of a text, without case, and their stems and parts."""
    found: set[str] = set()
    for match in WORD.finditer(text):
        folded = match[0].casefold()
        found |= {folded, _stem(folded)}
        found |= {form for part in PARTS.split(folded) for form in (part, _stem(part)) if part}
    return found


def _is_name(word: str, *, nouns: bool) -> bool:
    if INSIDE.search(word):
        return True
    return not nouns and word[0].isupper() and len(word) > 1


def _stem(word: str) -> str:
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
