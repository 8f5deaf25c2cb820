"""The connections to the cluster's nodes: kept alive, limited, spread over the nodes that work."""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field

from es_rerank.config import UpstreamSettings
from es_rerank.proxy.wire.client import Connection
from es_rerank.proxy.wire.exchange import Exchange
from es_rerank.proxy.wire.failure import TimedOutError, UnreachableError, UpstreamError
from es_rerank.proxy.wire.health import Health
from es_rerank.proxy.wire.tls import explain


@dataclass(eq=False)
class Node:
    """One node of the cluster and its connections that rest."""

    url: str
    host: str
    port: int
    authority: bytes  # of the Host header
    prefix: bytes  # of every path
    tls: ssl.SSLContext | None = None
    idle: list[Connection] = field(default_factory=list)
    healthy: bool = True


class Pool:
    """All connections; the last one freed is the first one used."""

    def __init__(
        self,
        nodes: Sequence[Node],
        settings: UpstreamSettings,
        check: Callable[[Node], Awaitable[int]],
    ) -> None:
        self.nodes = nodes
        self.settings = settings
        always = settings.check_nodes == "always"
        self.health = Health(nodes, check, settings.check_interval_s, always)
        self._next = -1
        self._open = 0  # connections made and being made
        self._made: set[Connection] = set()
        self._waiting: deque[tuple[Node, Exchange]] = deque()
        self._connecting: dict[Exchange, asyncio.Task[None]] = {}
        self._timers: dict[Exchange, asyncio.TimerHandle] = {}
        self._loop = asyncio.get_running_loop()

    def choose(self, tried: Collection[Node] = ()) -> Node | None:
        """The next healthy node that was not tried; a single node is always worth trying."""
        nodes = self.nodes
        if len(nodes) == 1:
            return None if tried else nodes[0]
        for _ in nodes:
            self._next = (self._next + 1) % len(nodes)
            node = nodes[self._next]
            if node.healthy and node not in tried:
                return node
        return None

    def take(self, node: Node) -> Connection | None:
        """A connection to the node that rests, if there is one."""
        idle = node.idle
        oldest = self._loop.time() - self.settings.keep_alive_s
        while idle:
            connection = idle.pop()
            if connection.idle_since > oldest and connection.usable:
                return connection
            connection.close()
        return None

    def connect(self, node: Node, exchange: Exchange) -> None:
        """Make a connection for an exchange: a check's at once, others when the limit allows it."""
        full = self._open >= self.settings.connections and not exchange.is_check
        if full and not self._evict():
            self._waiting.append((node, exchange))
            wait_s = self.settings.timeout_s
            self._timers[exchange] = self._loop.call_later(wait_s, self._give_up, exchange)
            return
        self._open += 1
        self._connecting[exchange] = asyncio.ensure_future(self._connect(node, exchange))

    def forget(self, exchange: Exchange) -> None:
        """An exchange no longer wants a connection."""
        task = self._connecting.pop(exchange, None)
        if task is not None:
            task.cancel()
        timer = self._timers.pop(exchange, None)
        if timer is not None:
            timer.cancel()
            self._waiting = deque(pair for pair in self._waiting if pair[1] is not exchange)

    async def close(self) -> None:
        """Close every connection; exchanges under way end with an error."""
        self.health.close()
        ending = UnreachableError("the proxy is shutting down")
        for exchange in [*self._connecting, *self._timers]:
            self.forget(exchange)
            exchange.fail(ending)
        for connection in list(self._made):
            connection.break_off(ending)
        await asyncio.sleep(0)  # transports close in the next round

    async def _connect(self, node: Node, exchange: Exchange) -> None:
        """Connect and hand the connection over; a failure takes the node out."""
        error: UpstreamError
        limit_s = self.settings.connect_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                _, connection = await self._loop.create_connection(
                    functools.partial(self._make, node),
                    node.host,
                    node.port,
                    ssl=node.tls,
                    server_hostname=node.host if node.tls is not None else None,
                )
        except TimeoutError:
            error = TimedOutError(f"{node.url} took no connection within {limit_s:g} s")
        except (OSError, ValueError) as failure:  # such as a host name that cannot be one
            error = UnreachableError(f"{node.url} cannot be reached: {explain(failure)}")
        except asyncio.CancelledError:
            self._open -= 1
            self._serve_waiting()
            raise
        else:
            if connection.usable:
                del self._connecting[exchange]
                self._made.add(connection)
                exchange.use(node, connection)
                return
            error = UnreachableError(f"{node.url} closed the connection as soon as it was made")
        del self._connecting[exchange]
        self._open -= 1
        self.health.eject(node, error)
        exchange.refuse(node, error)
        self._serve_waiting()

    def _make(self, node: Node) -> Connection:
        return Connection(
            node.url, functools.partial(self._freed, node), functools.partial(self._lost, node)
        )

    def _freed(self, node: Node, connection: Connection) -> None:
        if self._waiting:
            _, exchange = self._waiting.popleft()
            self._timers.pop(exchange).cancel()
            exchange.use(node, connection)
        else:
            connection.idle_since = self._loop.time()
            node.idle.append(connection)

    def _lost(self, node: Node, connection: Connection) -> None:
        if connection in node.idle:
            node.idle.remove(connection)
        if connection in self._made:
            self._made.remove(connection)
            self._open -= 1
            self._serve_waiting()

    def _serve_waiting(self) -> None:
        """There is room: connect for who has waited longest."""
        if self._waiting and self._open < self.settings.connections:
            node, exchange = self._waiting.popleft()
            self._timers.pop(exchange).cancel()
            self.connect(node, exchange)

    def _evict(self) -> bool:
        """Close a connection that rests, to make room for one to another node."""
        for node in self.nodes:
            if node.idle:
                connection = node.idle.pop(0)
                self._made.discard(connection)
                self._open -= 1
                connection.close()
                return True
        return False

    def _give_up(self, exchange: Exchange) -> None:
        self.forget(exchange)
        most, wait_s = self.settings.connections, self.settings.timeout_s
        exchange.fail(
            TimedOutError(f"all {most} connections to the cluster were in use for {wait_s:g} s")
        )
