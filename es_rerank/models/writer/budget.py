"""How much a run may use of a paid model, counted so that no request goes over it."""

from __future__ import annotations

import threading

from es_rerank.models.writer.prompt import Cost

MILLION = 1_000_000


class Budget:
    """Tokens and money that may be used. Safe to use from several threads.

    A request sets aside what it may cost at most before it is sent, and gives back what it did
    not use. price_in, price_out: of a million tokens.
    """

    def __init__(
        self,
        tokens: int | None = None,
        money: float | None = None,
        *,
        price_in: float = 0.0,
        price_out: float = 0.0,
    ) -> None:
        self.spent = Cost()
        self._tokens = tokens
        self._money = money
        self._prices = (price_in, price_out)
        self._aside: list[Cost] = []
        self._changed = threading.Condition()

    @property
    def is_limited(self) -> bool:
        """Whether there is an end to it."""
        return self._tokens is not None or self._money is not None

    def price(self, tokens_in: int, tokens_out: int) -> Cost:
        """What so many tokens cost."""
        price_in, price_out = self._prices
        money = (tokens_in * price_in + tokens_out * price_out) / MILLION
        return Cost(tokens_in + tokens_out, money)

    def set_aside(self, most: Cost) -> bool:
        """Set aside what a request may cost; False if spent. Waits for what others give back."""
        with self._changed:
            while not self._fits(sum(self._aside, self.spent + most)):
                if not self._aside or not self._fits(self.spent + most):
                    return False
                self._changed.wait()
            self._aside.append(most)
            return True

    def settle(self, most: Cost, used: Cost) -> None:
        """Count what a request has used, and give back the rest of what it set aside."""
        with self._changed:
            self._aside.remove(most)
            self.spent += used
            self._changed.notify_all()

    def _fits(self, cost: Cost) -> bool:
        return (self._tokens is None or cost.tokens <= self._tokens) and (
            self._money is None or cost.money <= self._money + 1e-12
        )
