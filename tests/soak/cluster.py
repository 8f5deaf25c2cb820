"""A small cluster on a real socket that breaks its answers in every way there is.

    python -m tests.soak.cluster SEED LOG

Prints its port. What it does to a search follows from the seed and the search's X-Opaque-Id alone,
so that a search which is tried again fares the same, and whoever sent it knows what to expect. The
id of each search that was answered whole goes to LOG.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import zlib
from pathlib import Path
from typing import Any

INDEX = "shop"
HITS = 70
DOCUMENTS = 300
BRANDS = ("Acme", "Birch", "Cedar", "Dune", "Elm")
WORDS = ("red", "blue", "trail", "road", "running", "shoes", "boots", "jacket", "light", "warm")
MAPPING = {
    INDEX: {
        "mappings": {
            "properties": {
                "title": {"type": "text"},
                "brand": {"type": "keyword"},
                "price": {"type": "double"},
            }
        }
    }
}
SHARES = {
    "whole": 0.80,
    "slow": 0.04,
    "closed": 0.03,  # no byte of an answer
    "reset": 0.03,
    "garbage": 0.02,  # no HTTP
    "cut": 0.03,  # in the middle of the body
    "stalled": 0.01,
    "stalled-within": 0.005,
    "unreadable": 0.015,  # a 200 that is no JSON
    "refused": 0.01,  # 429
    "down": 0.01,  # 503
}
OUTAGE_EVERY_S = 4.0
OUTAGE_S = 0.15
UNREADABLE = b'{"took":1,"hits":{"hits":[{"_id":"1","_score":1.0,}]}}'


def fate(seed: int, opaque: str) -> str:
    """What becomes of the search with that id."""
    drawn = zlib.crc32(f"{seed}:{opaque}".encode()) / 2**32
    for name, share in SHARES.items():
        drawn -= share
        if drawn < 0:
            return name
    return "whole"


def shape(status: int, kind: str) -> bytes:
    """An error as the engines write it."""
    cause = {"type": kind, "reason": "as the test wants it"}
    return json.dumps({"error": {"root_cause": [cause], **cause}, "status": status}).encode()


ERRORS = {
    "refused": (429, shape(429, "circuit_breaking_exception")),
    "down": (503, shape(503, "cluster_block_exception")),
}


def write_source(number: int) -> bytes:
    rng = random.Random(number)
    source: dict[str, Any] = {"title": " ".join(rng.choices(WORDS, k=5)), "price": number + 0.5}
    if rng.random() < 0.9:
        source["brand"] = rng.choice(BRANDS)
    return json.dumps(source).encode()


SOURCES = [write_source(number) for number in range(DOCUMENTS)]


def list_documents(words: str) -> list[int]:
    """The documents that a query finds, in the engine's order."""
    return random.Random(zlib.crc32(words.encode())).sample(range(DOCUMENTS), HITS)


def search(body: dict[str, Any]) -> bytes:
    """The answer to `{"query": {"match": {"title": WORDS}}, "from": ..., "size": ...}`."""
    found = list_documents(body["query"]["match"]["title"])
    start = body.get("from", 0)
    hits = [
        b'{"_index":"%s","_id":"%d","_score":%.2f,"_source":%s}'
        % (INDEX.encode(), number, 90 - 0.25 * place, SOURCES[number])
        for place, number in enumerate(found)
    ][start : start + body.get("size", 10)]
    return (
        b'{"took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"failed":0},"hits":'
        b'{"total":{"value":%d,"relation":"eq"},"max_score":90.00,"hits":[%s]}}'
        % (HITS, b",".join(hits))
    )


class Faulty:
    """Answers requests, and now and then takes no connections."""

    def __init__(self, seed: int, log: Path) -> None:
        self._seed = seed
        self._log = log.open("w", buffering=1)
        self._idle: set[asyncio.StreamWriter] = set()
        self._port = 0

    async def run(self) -> None:
        """Serve for ever."""
        while True:
            server = await asyncio.start_server(
                self._serve, "127.0.0.1", self._port, backlog=200, reuse_address=True
            )
            if not self._port:
                self._port = server.sockets[0].getsockname()[1]
                print(self._port, flush=True)
            await asyncio.sleep(OUTAGE_EVERY_S)
            server.close()
            for writer in [*self._idle]:
                writer.close()
            await asyncio.sleep(OUTAGE_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self._idle.add(writer)
                head = await reader.readuntil(b"\r\n\r\n")
                self._idle.discard(writer)
                lines = head.decode().split("\r\n")
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in lines[1:])
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                target = lines[0].split(" ")[1]
                if not await self._answer(writer, target, headers.get("x-opaque-id", ""), body):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._idle.discard(writer)
            writer.close()

    async def _answer(
        self, writer: asyncio.StreamWriter, target: str, opaque: str, body: bytes
    ) -> bool:
        """Answer one request. Returns whether the connection lives on."""
        if "_search" not in target:
            whole = json.dumps(MAPPING if "_mapping" in target else {"version": {"number": "9"}})
            await write(writer, 200, whole.encode())
            return True
        kind = fate(self._seed, opaque)
        if kind == "slow":
            await asyncio.sleep(0.05)
        elif kind == "closed":
            return False
        elif kind == "reset":
            writer.transport.abort()
            return False
        elif kind == "garbage":
            writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            return False
        elif kind == "stalled":
            await asyncio.sleep(20)
            return False
        elif kind in ERRORS:
            await write(writer, *ERRORS[kind])
            return True
        whole_body = UNREADABLE if kind == "unreadable" else search(json.loads(body))
        if kind in {"cut", "stalled-within"}:
            half = whole_body[: len(whole_body) // 2]
            await write(writer, 200, half, len(whole_body))
            if kind != "cut":
                await asyncio.sleep(20)
            return False
        await write(writer, 200, whole_body)
        if kind != "unreadable":  # then the client's own is sent, and that may find nobody
            self._log.write(f"{opaque}\n")
        return True


async def write(
    writer: asyncio.StreamWriter, status: int, body: bytes, length: int | None = None
) -> None:
    length = len(body) if length is None else length
    writer.write(
        b"HTTP/1.1 %d Status\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
        % (status, length, body)
    )
    await writer.drain()


if __name__ == "__main__":
    asyncio.run(Faulty(int(sys.argv[1]), Path(sys.argv[2])).run())
