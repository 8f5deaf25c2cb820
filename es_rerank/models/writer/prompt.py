"""What a model that writes is given, and what is needed of it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from es_rerank.errors import ModelError

WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")
CHARS_PER_TOKEN = 4
IMAGE_TOKENS = 800


@dataclass(frozen=True)
class Prompt:
    """A task and the data it is about.

    system: rules that hold for all. data: stands apart, between tags, and holds none. images:
    addresses. max_tokens: of the answer.
    """

    system: str
    task: str
    data: str
    images: tuple[str, ...] = ()
    max_tokens: int = 128

    @property
    def user(self) -> str:
        """What follows the rules."""
        return f"{self.task}\n\n<data>\n{self.data}\n</data>"

    @property
    def tokens(self) -> int:
        """About how many tokens it has."""
        whole = f"{self.system}\n{self.user}"
        return estimate_tokens(whole) + IMAGE_TOKENS * len(self.images)

    def cut(self, chars: int) -> Prompt:
        """The same with so many characters of data."""
        return dataclasses.replace(self, data=self.data[:chars])


class Writer(Protocol):
    """A model that writes."""

    @property
    def name(self) -> str:
        """Name the model."""

    @property
    def sees(self) -> bool:
        """Whether it is shown images."""

    @property
    def cost(self) -> Cost:
        """What was used until now."""

    def write(self, prompts: Sequence[Prompt]) -> list[str]:
        """Write a text for each prompt, in order.

        Raises CutShortError when it can do only some of them, ModelError when none.
        """


@dataclass(frozen=True)
class Cost:
    """What was used. money: in the currency of the prices, 0 where there are none."""

    tokens: int = 0
    money: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.tokens + other.tokens, self.money + other.money)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.tokens - other.tokens, self.money - other.money)


class CutShortError(ModelError):
    """The writer can do no more. written: what it has done, None for what it has not."""

    def __init__(self, message: str, written: Sequence[str | None]) -> None:
        super().__init__(message)
        self.written = list(written)


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has: wide characters are one each, four others make one."""
    wide = 0 if text.isascii() else len(WIDE.findall(text))
    return wide + (len(text) - wide) // CHARS_PER_TOKEN + 1
