"""What people decided on texts, for a run: it holds as long as the texts' source is the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from es_rerank.cluster.client import SearchClient
from es_rerank.review.asking import Ask, Reply, carry_out
from es_rerank.review.decide import apply_log, find_decisions
from es_rerank.review.log import Entry

Decisions = Callable[[str, Sequence[tuple[str, str | None]]], list[Entry | None]]


@dataclass(frozen=True)
class ReviewLog:
    """The log of an alias. index: where it is kept."""

    client: SearchClient
    index: str
    alias: str

    def find(self, step: str, documents: Sequence[tuple[str, str | None]]) -> list[Entry | None]:
        """The last decision on a step's text of each document (id, routing)."""
        return carry_out(
            find_decisions(self.index, self.alias, step, documents), sender(self.client)
        )

    def carry_over(self, since: str) -> int:
        """Do again, in the version that is searched now, what was decided since; how often."""
        return carry_out(apply_log(self.index, self.alias, since), sender(self.client))


def sender(client: SearchClient) -> Callable[[Ask], Reply]:
    """How a client asks. Raises ClusterError."""

    def send(ask: Ask) -> Reply:
        answer = client.send(ask.method, ask.path, ask.body)
        client.check(f"{ask.method} {ask.path.partition('?')[0]}", answer, ask.allow)
        return Reply(answer.status, answer.body)

    return send
