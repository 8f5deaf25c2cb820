"""How fast a model is, as its calls have shown, and what it can do in the time there is."""

from __future__ import annotations

import time
from collections.abc import Sequence

CALL_S = 0.02
"""Seconds that one call should take: nobody who is in a hurry waits longer for others."""
LEAST_TOKENS, MOST_TOKENS = 128, 16_384
"""Of one call: below, its fixed cost tells; above, a card is full."""
BYTES_PER_TOKEN = 4
SPECIAL_TOKENS = 3
MARGIN = 0.85
"""Share of the time left that is planned with: calls differ in length."""
MEMORY = 0.8
"""What an earlier call still counts, beside the one that follows it."""
STALE_S = 1.0


class Pace:
    """Tokens per second, the latest calls counting most. Not for use by several threads at once."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._seconds = 0.0
        self._learnt = 0.0

    @property
    def tokens_per_s(self) -> float:
        """0 as long as nothing is known."""
        return self._tokens / self._seconds if self._seconds else 0.0

    def learn(self, tokens: int, seconds: float) -> None:
        """A call of so many tokens took so long."""
        self._tokens = MEMORY * self._tokens + tokens
        self._seconds = MEMORY * self._seconds + max(seconds, 1e-6)
        self._learnt = time.monotonic()

    def tell(self, tokens_per_s: float) -> None:
        """Another process has found out."""
        if tokens_per_s > 0:
            self._tokens, self._seconds = tokens_per_s, 1.0

    def estimate_s(self, tokens: float) -> float:
        """Seconds for so many tokens; 0 as long as no speed is known."""
        return tokens / self.tokens_per_s if self._seconds else 0.0

    def call_tokens(self) -> float:
        """Tokens of one call."""
        return min(max(self.tokens_per_s * CALL_S, LEAST_TOKENS), MOST_TOKENS)

    def room(self, left_s: float) -> float:
        """Tokens of the next call where so many seconds are left."""
        if not self._seconds:
            return self.call_tokens()
        return min(self.call_tokens(), MARGIN * left_s * self.tokens_per_s)

    def fits(self, tokens: float, left_s: float) -> bool:
        """Whether so many tokens can be read in the seconds left; yes while nothing is known."""
        return self.estimate_s(tokens) <= MARGIN * left_s

    def is_stale(self, now: float) -> bool:
        """Whether nothing was learnt lately (monotonic)."""
        return now - self._learnt > STALE_S


def count_tokens(query: str, texts: Sequence[str], most: int) -> list[int]:
    """About how many tokens each pair has, at most so many. Exact only in proportion."""
    own = count_bytes(query) + SPECIAL_TOKENS * BYTES_PER_TOKEN
    return [min((own + count_bytes(text)) // BYTES_PER_TOKEN, most) for text in texts]


def count_bytes(text: str) -> int:
    """Bytes in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
