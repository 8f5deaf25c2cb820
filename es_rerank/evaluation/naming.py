"""Measures by name, as ir-measures writes them: `nDCG@10`, `ILD@10`, `entropy(brand)@10`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from es_rerank.errors import ConfigError
from es_rerank.evaluation.measures import MAX_ALPHA_K

Better = Literal["higher", "lower"]
NAME = re.compile(r"(\w+)(?:\(([^()]+)\))?(?:@(\d+))?")
RELEVANCE = ("nDCG", "RR", "R", "P", "AP", "Success", "Judged", "alpha_nDCG", "ERR_IA")
INTENTS = ("alpha_nDCG", "ERR_IA")
BY_FIELD = ("coverage", "entropy", "distinct", "Gini")
OURS = ("ILD", "overlap", *BY_FIELD)
NEED_K = (*INTENTS, *OURS, "R", "P", "Success", "Judged")
ALIASES = {"recall": "R", "mrr": "RR", "map": "AP", "precision": "P", "err-ia": "ERR_IA"}
MEANINGS = {
    "nDCG": "gain 2^rating - 1, discounted by place, as a share of the ideal order's",
    "RR": "1 / the place of the first relevant document",
    "R": "share of the relevant documents that are found",
    "P": "share of relevant documents",
    "AP": "precision at each relevant document, averaged",
    "Success": "whether anything relevant is there",
    "Judged": "share of documents that somebody has rated",
    "alpha_nDCG": "nDCG in which what an intent has been given already counts half as much again",
    "ERR_IA": "expected reciprocal rank, averaged over intents",
    "ILD": "mean of 1 - cosine over the pairs: how unlike one another the documents are",
    "overlap": "share of documents in common with the rival's list",
    "coverage": "different values shown, as a share of those that could be",
    "entropy": "bits of uncertainty about the value: 0 where all have the same",
    "distinct": "different values",
    "Gini": "inequality of exposure over all queries: 0 where every value is seen the same",
}


@dataclass(frozen=True)
class Measure:
    """A measure: its kind, the places it looks at (None: all), and the field it is about."""

    kind: str
    k: int | None = None
    field: str | None = None

    @property
    def name(self) -> str:
        """As it is written."""
        about = f"({self.field})" if self.field else ""
        return f"{self.kind}{about}" + (f"@{self.k}" if self.k else "")

    @property
    def better(self) -> Better:
        """Which direction is the better."""
        return "lower" if self.kind == "Gini" else "higher"

    @property
    def needs_judgments(self) -> bool:
        """Whether it means nothing without ratings."""
        return self.kind in RELEVANCE

    @property
    def meaning(self) -> str:
        """What it says, in a few words."""
        return MEANINGS[self.kind]


def read_measure(text: str) -> Measure:
    """Read a measure's name. Raises ConfigError that names the nearest one there is."""
    found = NAME.fullmatch(text.strip())
    kind, field, k = found.groups() if found else (text, None, None)
    known = {name.lower(): name for name in (*RELEVANCE, *OURS)} | ALIASES
    if found is None or kind.lower() not in known:
        near = difflib.get_close_matches(kind.lower(), known, n=1)
        hint = f"did you mean {known[near[0]]}?" if near else f"there are {', '.join(MEANINGS)}"
        raise ConfigError(f"There is no measure {text!r}: {hint} (such as nDCG@10)")
    measure = Measure(known[kind.lower()], int(k) if k else None, field)
    if measure.k == 0 or (measure.k is None and measure.kind in NEED_K):
        raise ConfigError(f"{text!r} needs how many places to look at, such as {measure.kind}@10.")
    if (measure.field is None) == (measure.kind in BY_FIELD):
        mend = f"{measure.kind}(brand)@10" if measure.kind in BY_FIELD else f"{measure.kind}@10"
        raise ConfigError(f"{text!r} is not how it is written: write {mend}, for instance.")
    if measure.kind in INTENTS and (measure.k or 0) > MAX_ALPHA_K:
        raise ConfigError(f"{text!r}: {measure.kind} is judged to place {MAX_ALPHA_K} at most.")
    return measure


def choose_measures(
    judged: bool, fields: Sequence[str], seller: str | None, intents: bool, depth: int
) -> list[Measure]:
    """What is measured when nothing is named. fields: those whose variety counts.

    seller: the field of who sells, or else of the brand.
    """
    relevance = [Measure("nDCG", 10), Measure("RR", 10), Measure("R", depth), Measure("Judged", 10)]
    if intents:
        relevance += [Measure("alpha_nDCG", 10), Measure("ERR_IA", 10)]
    variety = [Measure("ILD", 10), Measure("overlap", 10)]
    for field in fields:
        variety += [Measure("coverage", 10, field), Measure("entropy", 10, field)]
    if seller:
        variety.append(Measure("Gini", 10, seller))
    return [*(relevance if judged else ()), *variety]
