"""What becomes of a checked text: shown, waiting for a person, or held back for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from es_rerank.enrich.safety.check import Verdict, check_copy, check_text
from es_rerank.enrich.safety.rules import Rules

WAITING = "waiting"
Text = str | list[str]


@dataclass(frozen=True)
class Safety:
    """The rules, and which texts a person has to see first."""

    rules: Rules
    review: Literal["flagged", "all", "none"] = "flagged"

    def may_copy(self, text: str) -> bool:
        """Whether a part of a product's own text may be shown."""
        return check_copy(text, self.rules).outcome == "passed"

    def judge(self, text: Text, source: str | None, language: str | None) -> Judged:
        """Check a text; source: None where it is copied."""
        if source is None:
            verdict = check_copy(text if isinstance(text, str) else "\n".join(text), self.rules)
        else:
            verdict = check_text(text, source, self.rules, language)
        waits = verdict.outcome != "blocked" and (
            self.review == "all" or (self.review == "flagged" and verdict.outcome == "flagged")
        )
        return Judged(text, verdict, waits)


@dataclass(frozen=True)
class Judged:
    """A text with what was found, and whether it waits."""

    text: Text
    verdict: Verdict
    waits: bool

    @property
    def is_shown(self) -> bool:
        """Whether it may stand where it is searched."""
        return not self.waits and self.verdict.outcome != "blocked"

    @property
    def provenance(self) -> dict[str, Any]:
        """What is to be said of it. A text that waits is kept there; one that is blocked is not."""
        told: dict[str, Any] = {"outcome": self.verdict.outcome}
        if reasons := self.verdict.reasons:
            told["reasons"] = reasons
        if self.waits:
            told |= {"review": WAITING, "draft": self.text}
        return told
