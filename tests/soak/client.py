"""A small HTTP/1.1 client on asyncio: what comes back, and whether it came back whole."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """An answer; `whole` is False where the connection ended in the middle of it."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = True

    @property
    def mark(self) -> str:
        """X-Es-Rerank."""
        return self.headers.get("x-es-rerank", "")


class Client:
    """One connection, made anew when it has ended."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """Send a request and read its answer. Raises ConnectionError when none comes at all."""
        reader, _ = await self.send(method, target, body, **headers)
        try:
            answer = await read_answer(reader, method)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            await self.close()
            raise ConnectionError(f"no answer: {error}") from error
        if not answer.whole or answer.headers.get("connection") == "close":
            await self.close()
        return answer

    async def send(
        self, method: str, target: str, body: bytes = b"", **headers: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send a request alone."""
        if self._open is None:
            self._open = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._open
        lines = [f"{method} {target} HTTP/1.1", "Host: proxy", f"Content-Length: {len(body)}"]
        if body and "content_type" not in headers:
            lines.append("Content-Type: application/json")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        return reader, writer

    async def close(self) -> None:
        """End the connection."""
        if self._open is not None:
            _, writer = self._open
            self._open = None
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def read_answer(reader: asyncio.StreamReader, method: str) -> Answer:
    """Read an answer. Raises IncompleteReadError or ConnectionError before its head is there."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ")[1])
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = b""
    try:
        if method == "HEAD" or status in {204, 304}:
            pass
        elif headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
        else:
            body = await reader.readexactly(int(headers.get("content-length", 0)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return Answer(status, headers, body, whole=False)
    return Answer(status, headers, body)
