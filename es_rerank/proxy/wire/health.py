"""Which nodes work: out when no connection can be made, in again when a check is answered.

A slow or broken answer puts no node out by itself, or one heavy search would empty the cluster: the
node is checked, and put out when it does not answer that either. Any status is an answer, a refusal
of our credentials too, but for a gateway's word that nothing stands behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from es_rerank import telemetry
from es_rerank.proxy.wire.failure import UpstreamError

if TYPE_CHECKING:
    from es_rerank.proxy.wire.pool import Node

FIRST_CHECK_S = 0.25
"""Seconds until a node that went out is checked; each further check waits twice as long."""
GATEWAY_STATUS = frozenset({502, 504})
log = telemetry.get_logger()


class Health:
    """Checks the nodes, each by a task of its own, and only while there is a reason.

    ask: gives the status of a small request to one node, or raises UpstreamError. interval_s: the
    longest pause between two checks. always: check the nodes that are in as well.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        ask: Callable[[Node], Awaitable[int]],
        interval_s: float,
        always: bool,
    ) -> None:
        self._nodes = nodes
        self._ask = ask
        self._interval_s = interval_s
        self._closed = False
        self._checks: dict[Node, asyncio.Task[None]] = {}
        self._rounds = asyncio.ensure_future(self._go_round()) if always else None
        self._count()

    def eject(self, node: Node, why: Exception) -> None:
        """Put a node out, and check it until it is back."""
        if self._closed:
            return
        if node.healthy:
            node.healthy = False
            log.warning("a node of the cluster is out", node=node.url, error=str(why))
            self._count()
        if node not in self._checks:
            self._start(node, self._await_return)

    def heal(self, node: Node) -> None:
        """A node has answered: it is in."""
        if not node.healthy:
            node.healthy = True
            log.info("a node of the cluster is in again", node=node.url)
            self._count()

    def suspect(self, node: Node) -> None:
        """A node broke or owes an answer: check whether it works at all."""
        if node not in self._checks and not self._closed:
            self._start(node, self._check)

    def close(self) -> None:
        """End all checks."""
        self._closed = True
        for task in [*self._checks.values(), self._rounds]:
            if task is not None:
                task.cancel()

    def _start(self, node: Node, work: Callable[[Node], Awaitable[None]]) -> None:
        async def run() -> None:
            await work(node)
            del self._checks[node]
            if not node.healthy:
                self._start(node, self._await_return)

        self._checks[node] = asyncio.ensure_future(run())

    async def _check(self, node: Node) -> None:
        error = await self._find_error(node)
        if error is not None:
            self.eject(node, error)

    async def _await_return(self, node: Node) -> None:
        pause_s = min(FIRST_CHECK_S, self._interval_s)
        while not node.healthy:
            await asyncio.sleep(pause_s)
            if await self._find_error(node) is None:
                self.heal(node)
            pause_s = min(2 * pause_s, self._interval_s)

    async def _go_round(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            for node in self._nodes:
                if node.healthy:
                    self.suspect(node)

    async def _find_error(self, node: Node) -> Exception | None:
        """Why the node does not work; None when it does."""
        try:
            status = await self._ask(node)
        except UpstreamError as error:
            return error
        if status in GATEWAY_STATUS:
            return UpstreamError(f"{node.url} answers {status}: nothing stands behind it")
        return None

    def _count(self) -> None:
        healthy = sum(node.healthy for node in self._nodes)
        telemetry.UPSTREAM_NODES.labels("in").set(healthy)
        telemetry.UPSTREAM_NODES.labels("out").set(len(self._nodes) - healthy)
