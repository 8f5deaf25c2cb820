"""Check a text that was made for a product against what is known of the product.

Facts that the source does not have (numbers, units, names, claims), personal data, toxic and biased
words, forbidden claims, and what comes of orders hidden in product texts: links, markup, orders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from es_rerank.enrich.safety.names import find_unfounded_names
from es_rerank.enrich.safety.personal import find_personal
from es_rerank.enrich.safety.quantities import find_unfounded
from es_rerank.enrich.safety.rules import Level, Rules
from es_rerank.enrich.safety.untrusted import (
    INVISIBLE,
    TEMPLATE,
    has_link,
    is_instruction,
    unmask,
)

EDITION = 2  # raised when the same text and source are judged otherwise
Outcome = Literal["passed", "flagged", "blocked"]
MARKUP = ("<", ">", "](", "```", "{{", "}}", "**")
MOST_REASONS = 12
SHOWN_CHARS = 60


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a text.

    kind: number, unit, name, claim, personal, toxic, bias, link, markup or instruction. detail:
    what it is; never the personal data themselves.
    """

    kind: str
    level: Level
    detail: str

    @property
    def reason(self) -> str:
        """In words, for provenance and reviewers."""
        return f"{self.kind}: {self.detail}"


@dataclass(frozen=True)
class Verdict:
    """What came of a check."""

    findings: tuple[Finding, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """blocked where anything blocks, flagged where anything is wrong, else passed."""
        if any(finding.level == "block" for finding in self.findings):
            return "blocked"
        return "flagged" if self.findings else "passed"

    @property
    def reasons(self) -> list[str]:
        """Why, what weighs most first, each once."""
        ordered = sorted(self.findings, key=lambda finding: finding.level)
        return list(dict.fromkeys(finding.reason for finding in ordered))[:MOST_REASONS]


def check_text(
    text: str | Sequence[str], source: str, rules: Rules, language: str | None = None
) -> Verdict:
    """Check a text, or a list's items, against its source."""
    items = [text] if isinstance(text, str) else list(text)
    findings: list[Finding] = []
    for item in items:
        findings += _find_unsaid(item, source, rules, language)
        findings += find_unfit(item, source, rules)
    return Verdict(tuple(dict.fromkeys(findings)))


def check_copy(text: str, rules: Rules) -> Verdict:
    """Check a text that stands in its source as it is: whether it may be shown all the same."""
    return Verdict(tuple(find_unfit(text, None, rules)))


def find_unfit(text: str, source: str | None, rules: Rules) -> Iterator[Finding]:
    """Yield what is wrong with a text whatever is true; source: None for what is copied from it."""
    seen = unmask(text)
    for kind in find_personal(text if text.isascii() else seen):
        yield Finding("personal", "block", kind)
    if has_link(seen, source):
        yield Finding("link", "block", "a link")
    if is_instruction(text):
        yield Finding("instruction", "block", "it gives orders")
    hidden = not text.isprintable() and INVISIBLE.search(text)
    roles = any(mark in text for mark in "<[#:：") and TEMPLATE.search(text)
    if hidden or roles or any(mark in text for mark in MARKUP):
        yield Finding("markup", "block", "markup or invisible characters")
    for rule, found in rules.broken(seen, source):
        named = "" if rule.name == rule.kind else f" ({rule.name})"
        yield Finding(rule.kind, rule.level, f"{_shown(found)}{named}")


def _find_unsaid(text: str, source: str, rules: Rules, language: str | None) -> Iterator[Finding]:
    for kind, quantity in find_unfounded(text, source):
        said = "is not in the source" if kind == "number" else "has another unit in the source"
        yield Finding(kind, "flag", f"{_shown(quantity)} {said}")
    for name in find_unfounded_names(text, source, rules.openers, language):
        yield Finding("name", "flag", f"{_shown(name)} is not in the source")


def _shown(text: str) -> str:
    return text.strip()[:SHOWN_CHARS]
