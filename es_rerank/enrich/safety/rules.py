"""Rules that texts are held to: forbidden claims from a TOML file, words from word lists."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from es_rerank.config import Section
from es_rerank.config.reading import describe
from es_rerank.errors import ConfigError

Level = Literal["flag", "block"]
WORD_LISTS: Mapping[str, Level] = {"toxic": "block", "bias": "flag"}
WORD = re.compile(r"\w+")
WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af]")
NEGATED = re.compile(
    r"(?:\b(?:not|no|non|never|without|isn't|aren't|doesn't|cannot|nicht|kein\w*|ohne|pas|sans)"
    r"[\s-]+(?:\w+\s+){0,2}|[不非无没未勿](?:是|能|可|会|具备|有)?)$",
    re.I,
)


DENIED = re.compile(r"\s*[:=：]\s*(?:no|none|false|nein|non|否|无|0)(?!\w)")


class RuleEntry(Section):
    """One rule of the file."""

    name: str = Field(description="How a reviewer knows it.")
    level: Level = Field("flag", description="flag: a person decides. block: it is not shown.")
    phrases: tuple[str, ...] = Field((), description="Words looked for, in any case.")
    regex: str | None = Field(None, description="A regular expression of Python's.")
    hints: tuple[str, ...] = Field(
        (), description="Parts of words without any of which the regex cannot match: for speed."
    )
    unless_in_source: bool = Field(
        False, description="Whether it may be said where the product's data say it."
    )

    @model_validator(mode="after")
    def _looks_for_something(self) -> RuleEntry:
        if not self.phrases and self.regex is None:
            raise ValueError(f"the rule {self.name!r} looks for nothing: give phrases or a regex")
        try:
            re.compile(self.regex or "")
        except re.error as error:
            raise ValueError(f"the rule {self.name!r} has a wrong regex: {error}") from None
        return self


class RuleFile(Section):
    """The rules of a file."""

    rule: tuple[RuleEntry, ...] = ()


@dataclass(frozen=True)
class Rule:
    """A rule. kind: `claim`, or the word list's name."""

    kind: str
    name: str
    level: Level
    unless_in_source: bool = False


@dataclass(frozen=True)
class Trace:
    """One thing that breaks a rule: where it is worth looking, and what it looks like.

    hints: without any of them in the text, in lower case, it is not there; none looks always.
    """

    rule: Rule
    pattern: re.Pattern[str]
    hints: tuple[str, ...] = ()

    def find(self, text: str, source: str) -> str | None:
        """What breaks the rule; None where nothing does. What a text denies it does not claim."""
        for match in self.pattern.finditer(text):
            allowed = self.rule.unless_in_source and (
                _is_negated(text, match.start()) or states(source, match[0])
            )
            if not allowed:
                return match[0]
        return None


@dataclass(frozen=True)
class Rules:
    """All rules, and the words that may begin a sentence.

    phrases: by their first word. A text of a hundred characters is held to all of them in some
    microseconds: what it has no word of is not looked for.
    """

    phrases: Mapping[str, Sequence[Trace]]
    others: Sequence[Trace]  # of scripts without spaces, and regular expressions
    openers: frozenset[str]

    @property
    def digest(self) -> str:
        """A hash of all of it."""
        traces = [trace for word in sorted(self.phrases) for trace in self.phrases[word]]
        told = [(t.rule, t.pattern.pattern, t.hints) for t in (*traces, *self.others)]
        return hashlib.sha256(repr((told, sorted(self.openers))).encode()).hexdigest()[:16]

    def broken(self, text: str, source: str | None) -> Iterator[tuple[Rule, str]]:
        """Yield each rule that a text breaks, and by what.

        source: None where the text is copied from it, so that it says nothing of its own.
        """
        lowered = text.casefold()
        words = self.phrases.keys() & WORD.findall(lowered)
        traces = [trace for word in sorted(words) for trace in self.phrases[word]]
        traces += self.others
        told: set[Rule] = set()
        for trace in traces:
            if trace.rule in told or (source is None and trace.rule.unless_in_source):
                continue
            if trace.hints and not any(hint in lowered for hint in trace.hints):
                continue
            found = trace.find(text, source or "")
            if found is not None:
                told.add(trace.rule)
                yield trace.rule, found


def states(source: str, claim: str) -> bool:
    """Whether a source says a thing without denying it."""
    lowered, wanted = source.casefold(), claim.casefold()
    start = lowered.find(wanted)
    while start >= 0:
        end = start + len(wanted)
        if not _is_negated(lowered, start) and DENIED.match(lowered, end) is None:
            return True
        start = lowered.find(wanted, start + 1)
    return False


def _is_negated(text: str, start: int) -> bool:
    return NEGATED.search(text[max(start - 40, 0) : start].rpartition("\n")[2]) is not None


def load_rules(claims: Path | None = None, words: Path | None = None) -> Rules:
    """The rules of a file, and the lists of a folder; those that come along where none is given.

    The folder holds any of toxic-*.txt, bias-*.txt and openers-*.txt, a word or phrase a line, `#`
    before what is none; a list that is not there is the one that comes along. Raises ConfigError.
    """
    traces = [*_read_claims(claims), *_read_lists(words)]
    phrases: dict[str, list[Trace]] = {}
    others = []
    for trace in traces:
        first = WORD.search(trace.hints[0]) if len(trace.hints) == 1 else None
        if first is None or WIDE.search(trace.hints[0]):
            others.append(trace)
        else:
            phrases.setdefault(first[0], []).append(trace)
    return Rules(phrases, others, frozenset(_read_words("openers", words)))


@cache
def shipped_rules() -> Rules:
    """The rules that come along."""
    return load_rules()


def _read_claims(file: Path | None) -> list[Trace]:
    try:
        text = (
            files("es_rerank.enrich.safety").joinpath("claims.toml").read_text(encoding="utf-8")
            if file is None
            else file.expanduser().read_text(encoding="utf-8")
        )
        entries = RuleFile.model_validate(tomllib.loads(text)).rule
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"the rules {file} cannot be read as TOML: {error}") from None
    except ValidationError as error:
        raise ConfigError(f"{file}: {describe(error, {}, RuleFile, 'rule key')}") from None
    traces: list[Trace] = []
    for entry in entries:
        rule = Rule("claim", entry.name, entry.level, entry.unless_in_source)
        traces += _trace(rule, entry.phrases)
        if entry.regex is not None:
            hints = tuple(hint.casefold() for hint in entry.hints)
            # Two at least, so that it is not taken for a phrase.
            traces.append(Trace(rule, re.compile(entry.regex, re.I), hints and (*hints, hints[0])))
    return traces


def _read_lists(folder: Path | None) -> list[Trace]:
    return [
        trace
        for kind, level in WORD_LISTS.items()
        for trace in _trace(Rule(kind, kind, level), _read_words(kind, folder))
    ]


def _trace(rule: Rule, phrases: Iterable[str]) -> Iterator[Trace]:
    """A trace for each phrase, as whole words where its script has words."""
    for phrase in phrases:
        body = r"[\s-]+".join(map(re.escape, phrase.split()))
        if not WIDE.search(phrase):
            body = (r"(?<!\w)" if phrase[0].isalnum() else "") + body
            body += r"(?!\w)" if phrase[-1].isalnum() else ""
        yield Trace(rule, re.compile(body, re.I), (phrase.casefold().split()[0],))


def _read_words(kind: str, folder: Path | None) -> list[str]:
    own: Any = files("es_rerank.enrich.safety").joinpath("words")
    found: list[Any] = []
    if folder is not None:
        where = folder.expanduser()
        if not where.is_dir():
            raise ConfigError(f"there is no folder of word lists {where}")
        found = sorted(where.glob(f"{kind}-*.txt"))
    if not found:
        names = sorted(file.name for file in own.iterdir() if file.name.startswith(f"{kind}-"))
        found = [own.joinpath(name) for name in names]
    words: dict[str, None] = {}
    for file in found:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the word list {file} cannot be read: {error}") from None
        for line in text.splitlines():
            word = line.partition("#")[0].strip().casefold()
            if word:
                words[word] = None
    return list(words)
