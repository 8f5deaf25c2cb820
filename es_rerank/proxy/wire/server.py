"""The HTTP/1.1 server: it takes connections, sees to their clocks, and ends in good order."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from es_rerank import telemetry
from es_rerank.proxy.answer import Message, Receive, Scope, Send
from es_rerank.proxy.wire.call import ASGI, Call, make_scope
from es_rerank.proxy.wire.connection import Connection, Taker
from es_rerank.proxy.wire.head import Head
from es_rerank.proxy.wire.limits import Limits

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
OUT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
ACCEPTED_AT_ONCE = 64
RETRY_S = 0.25
CLOCK_S = 0.5
WATCH_S = 0.05
WARN_EVERY_S = 60.0

log = telemetry.get_logger()


class Shortcut(Protocol):
    """A way past the application's interface, for requests that need nothing of it."""

    def take(self, connection: Connection, head: Head) -> Taker | None:
        """Find who answers a request; None leaves it to the application."""


class HttpServer:
    """Serves one application. Set `should_exit`, from any thread, to end it.

    Then no connection is taken any more, those that rest are closed, and requests under way are
    answered with `Connection: close`, for `grace_s` at most; what is left is cut.
    """

    def __init__(
        self,
        app: Application,
        limits: Limits | None = None,
        *,
        shortcut: Shortcut | None = None,
        ssl_context: ssl.SSLContext | None = None,
        grace_s: float = 10.0,
    ) -> None:
        self.started = False
        self.should_exit = False
        self.limits = limits or Limits()
        self.ssl_context = ssl_context
        self.grace_s = grace_s
        self._app = app
        self._shortcut = shortcut
        self._sockets: list[socket.socket] = []
        self._listening = False
        self._open: dict[Connection, None] = {}
        self._greeting: set[asyncio.Task[object]] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._quiet_until = 0.0
        self._loop: asyncio.AbstractEventLoop

    async def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Start the application and serve it on bound, listening sockets until should_exit.

        The sockets are closed. Raises what the application raises when it starts.
        """
        self._loop = asyncio.get_running_loop()
        self._sockets = list(sockets)
        life = Lifespan(self._app)
        await life.start()
        try:
            for bound in self._sockets:
                bound.setblocking(False)
            self._listen()
            clock = asyncio.ensure_future(self._run_clock())
            self.started = True
            while not self.should_exit:  # noqa: ASYNC110 - set from any thread
                await asyncio.sleep(WATCH_S)
            await self._drain()
            clock.cancel()
        finally:
            await life.end()
            self.started = False

    # A connection's word.

    def admit(self, connection: Connection) -> None:
        """A connection is open."""
        self._open[connection] = None
        if self.should_exit:
            connection.drain()

    def dismiss(self, connection: Connection) -> None:
        """A connection is closed."""
        self._open.pop(connection, None)
        if not self._listening and len(self._open) < self.limits.connections:
            self._listen()

    def take(self, connection: Connection, head: Head) -> Taker:
        """Find who answers a request: the shortcut, or a task of the application."""
        if self._shortcut is not None:
            taker = self._shortcut.take(connection, head)
            if taker is not None:
                return taker
        call = Call(connection)
        task = self._loop.create_task(
            run(self._app, make_scope(connection, head), call.receive, call.send)
        )
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        task.add_done_callback(call.finish)
        return call

    # Taking connections. Neither asyncio's nor libuv's own way outlives a lack of descriptors well.

    def _listen(self) -> None:
        if self._listening or not self._sockets:
            return
        self._listening = True
        for bound in self._sockets:
            self._loop.add_reader(bound, self._accept, bound)

    def _stop_listening(self) -> None:
        if self._listening:
            self._listening = False
            for bound in self._sockets:
                self._loop.remove_reader(bound)

    def _accept(self, bound: socket.socket) -> None:
        for taken in range(ACCEPTED_AT_ONCE):
            if len(self._open) + len(self._greeting) >= self.limits.connections:
                if taken == 0 and not self._make_room():  # somebody is at the door for sure
                    self._stop_listening()
                    self._loop.call_later(RETRY_S, self._listen)
                return
            try:
                accepted, _ = bound.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in OUT_OF:
                    return  # of the connection that was to be taken, as Linux has it
                self._warn(error)
                self._stop_listening()
                self._make_room()
                self._loop.call_later(RETRY_S, self._listen)
                return
            task = self._loop.create_task(self._greet(accepted))
            self._greeting.add(task)
            task.add_done_callback(self._greeting.discard)

    async def _greet(self, accepted: socket.socket) -> None:
        """Make a connection of a socket, after TLS's handshake where there is one."""
        accepted.setblocking(False)
        try:
            if accepted.family != socket.AF_UNIX:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(
                lambda: Connection(self),
                accepted,
                ssl=self.ssl_context,
                ssl_handshake_timeout=self.limits.head_s if self.ssl_context else None,
            )
        except OSError as error:  # ssl.SSLError is one
            log.debug("a connection came to nothing", error=f"{type(error).__name__}: {error}")
            accepted.close()

    def _make_room(self) -> bool:
        """Close the connection that was taken first among those that rest."""
        for connection in self._open:
            if connection.resting:  # or closing already: one at a time
                connection.drain()
                return True
        return False

    def _warn(self, error: OSError) -> None:
        now = time.monotonic()
        if now < self._quiet_until:
            return
        self._quiet_until = now + WARN_EVERY_S
        log.warning(
            "no further connection can be taken",
            error=error.strerror,
            mend="raise the limit of open files (ulimit -n), or lower proxy.connections",
        )

    async def _run_clock(self) -> None:
        limits = self.limits
        shortest = min(limits.head_s, limits.body_s, limits.send_s, limits.idle_s)
        while True:
            await asyncio.sleep(min(CLOCK_S, shortest / 4))
            now = self._loop.time()
            for connection in list(self._open):
                connection.look_at_clock(now)

    async def _drain(self) -> None:
        self._stop_listening()
        for bound in self._sockets:
            bound.close()
        self._sockets = []
        for connection in list(self._open):
            connection.drain()
        began = self._loop.time()
        while self._calls or self._greeting or not all(c.finished for c in self._open):
            if self._loop.time() - began > self.grace_s:
                break
            await asyncio.sleep(WATCH_S / 5)
        for task in [*self._calls, *self._greeting]:
            task.cancel()
        for connection in list(self._open):
            connection.transport.close() if connection.finished else connection.cut()
        await asyncio.gather(*self._calls, *self._greeting, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next round


async def run(app: Application, scope: Scope, receive: Receive, send: Send) -> None:
    """Let the application answer one request."""
    await app(scope, receive, send)


class Lifespan:
    """The application's beginning and end (ASGI's lifespan protocol)."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._ask: asyncio.Queue[Message] = asyncio.Queue()
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None]

    async def start(self) -> None:
        """Raises what the application raises, or RuntimeError when it says that it failed."""
        scope: Scope = {"type": "lifespan", "asgi": ASGI, "state": {}}
        self._task = asyncio.ensure_future(run(self._app, scope, self._ask.get, self._said.put))
        await self._tell("startup")

    async def end(self) -> None:
        """Let the application close what it opened."""
        if not self._task.done():
            await self._tell("shutdown")
            await self._task

    async def _tell(self, event: str) -> None:
        await self._ask.put({"type": f"lifespan.{event}"})
        heard = asyncio.ensure_future(self._said.get())
        await asyncio.wait({self._task, heard}, return_when=asyncio.FIRST_COMPLETED)
        if not heard.done():
            heard.cancel()
            await self._task  # raises
            raise RuntimeError(f"the application ended at its {event}")
        if heard.result()["type"].endswith("failed"):
            raise RuntimeError(heard.result().get("message") or f"the {event} failed")
