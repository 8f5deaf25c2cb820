"""The scorer as an ASGI application: rerank requests to the model, and what it says of itself."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from prometheus_client import CONTENT_TYPE_LATEST

from es_rerank import __version__, telemetry
from es_rerank.config import Settings
from es_rerank.errors import ConfigError
from es_rerank.proxy.access import AccessLog, Record
from es_rerank.proxy.admin.door import CHALLENGE, Door
from es_rerank.proxy.answer import (
    Header,
    Receive,
    Scope,
    Send,
    compress,
    find_header,
    send_answer,
    send_json,
)
from es_rerank.proxy.process.frames import Encode, Failed, Score, Scores, Vectors
from es_rerank.proxy.process.scorer import ScorerServer
from es_rerank.proxy.relay import read_body, while_connected
from es_rerank.proxy.scorer_only.shapes import SHAPES, Asked, RefusedError, Shape, read, write

PREFIX = "/_es_rerank/"
OPEN = frozenset({"/health", f"{PREFIX}live", f"{PREFIX}ready"})
"""What needs no token: balancers and kubelets ask for it."""
ADMIN = frozenset({f"{PREFIX}{page}" for page in ("live", "ready", "metrics")})
PATHS = (*SHAPES, "/info", "/health", *sorted(ADMIN))
TIMEOUT_HEADER = b"x-es-rerank-timeout-ms"
"""How long the caller waits, as the proxy tells it: what is late is not worth the model's time."""
KINDS = ("bi-encoder", "cross-encoder", "lexical")
TROUBLE = {
    "overloaded": (429, "Overloaded", "too many requests wait for the model", 1),
    "not-ready": (503, "Unhealthy", "the model is being loaded", 1),
    "deadline": (503, "Overloaded", "the model had no time for it", 1),
}


class ScorerApp:
    """One model behind HTTP. Nothing of it knows of a cluster."""

    shortcut = None

    def __init__(self, settings: Settings) -> None:
        if settings.model.kind not in KINDS:
            raise ConfigError(
                f"[model] kind = {settings.model.kind!r} has no model that could be served alone: "
                f"--scorer-only takes {', '.join(KINDS)}"
            )
        self.settings = settings
        self.admin_port: int | None = None
        self._scorer = ScorerServer(settings)
        self._token = Door(settings.scorer.token)
        self._admin = Door(settings.admin.token)
        self._access = AccessLog(settings.telemetry)

    def know_sockets(self, sockets: Sequence[socket.socket]) -> None:
        """Learn which address is the admin routes' own: the second, where there are two."""
        self.admin_port = sockets[1].getsockname()[1] if len(sockets) > 1 else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._access.follow(
                scope, send, lambda record, sender: self._route(record, receive, sender)
            )
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        loading = asyncio.create_task(self._scorer.load())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        loading.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async def _route(self, record: Record, receive: Receive, send: Send) -> None:
        """Answer, in the form of the shape that the path has."""
        scope, path = record.scope, record.scope["path"]
        shape = SHAPES.get(path)
        record.route = "rerank" if shape is not None else "admin"
        try:
            self._admit(scope, path)
            if shape is not None:
                body = await self._read(scope, receive)
                await while_connected(
                    receive, send, lambda sender: self._rerank(sender, shape, scope, body)
                )
            else:
                await self._tell(path, send, scope["method"] == "HEAD")
            record.outcome = "ok"
        except RefusedError as error:
            headers: list[Header] = list(CHALLENGE) if error.status == 401 else []
            if error.retry_after_s:
                headers.append((b"retry-after", str(error.retry_after_s).encode()))
            if error.status == 405:
                headers.append((b"allow", b"POST" if shape is not None else b"GET, HEAD"))
            record.outcome = "refused"
            form = (shape or SHAPES["/rerank"]).fault
            await send_json(send, error.status, form(error), headers)

    def _admit(self, scope: Scope, path: str) -> None:
        """Raises RefusedError: a path or method that is none, or without the token."""
        if path not in PATHS or not self._is_here(scope, path):
            here = ", ".join(each for each in PATHS if self._is_here(scope, each))
            raise RefusedError(404, "Validation", f"there is no {path}; try {here}")
        methods = {"POST"} if path in SHAPES else {"GET", "HEAD"}
        if scope["method"] not in methods:
            raise RefusedError(405, "Validation", f"{path} takes {' and '.join(sorted(methods))}")
        door = self._admin if path in ADMIN else self._token
        if path not in OPEN and door.admit(scope["headers"]) is None:
            of = "[admin] token" if path in ADMIN else "[scorer] token"
            told = f"send the token of {of} as `Authorization: Bearer TOKEN`"
            raise RefusedError(401, "Validation", told)

    def _is_here(self, scope: Scope, path: str) -> bool:
        """Whether this address serves the path: the admin routes may have one of their own."""
        if self.admin_port is None or path in OPEN:
            return True
        server = scope["server"]
        return (path in ADMIN) == (server is not None and server[1] == self.admin_port)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """The request's body. Raises RefusedError."""
        if find_header(scope["headers"], b"content-encoding") not in {b"", b"identity"}:
            raise RefusedError(415, "Validation", "send the body uncompressed")
        most = self.settings.scorer.max_bytes
        body, rest = await read_body(receive, most)
        if rest is not None:
            told = f"length limit exceeded: a body has {most} bytes at most ([scorer] max_bytes)"
            raise RefusedError(413, "Validation", told)
        return body

    async def _rerank(self, send: Send, shape: Shape, scope: Scope, body: bytes) -> None:
        """Score what was sent. Raises RefusedError."""
        asked = read(shape, body, self.settings.scorer.max_texts)
        scores = await self._score(asked, self._time(scope))
        logits = self.settings.model.kind == "cross-encoder"
        told = write(shape, asked, scores, logits, self._scorer.name)
        accepted = find_header(scope["headers"], b"accept-encoding")
        written, coding = compress(msgspec.json.encode(told), accepted)
        await send_answer(send, 200, written, [(b"content-type", b"application/json"), *coding])

    def _time(self, scope: Scope) -> float:
        """Seconds that scoring may take: the caller's, the operator's at most."""
        most = self.settings.scorer.timeout_s
        try:
            wanted = float(find_header(scope["headers"], TIMEOUT_HEADER) or b"inf") / 1000
        except ValueError:
            wanted = math.nan
        if not wanted > 0:
            name = TIMEOUT_HEADER.decode()
            raise RefusedError(400, "Validation", f"{name} is no number of milliseconds above 0")
        return min(wanted, most)

    async def _score(self, asked: Asked, left_s: float) -> NDArray[np.float64]:
        """The scores, (n,). Raises RefusedError."""
        if self.settings.model.kind == "bi-encoder":
            answer = await self._scorer.answer(Encode([asked.query, *asked.texts], left_s))
            if isinstance(answer, Vectors):
                rows = np.frombuffer(answer.rows, np.float32).reshape(len(asked.texts) + 1, -1)
                cosines: NDArray[np.float64] = (rows[1:] @ rows[0]).astype(np.float64)
                return cosines
        else:
            answer = await self._scorer.answer(Score([(asked.query, asked.texts)], left_s))
        if isinstance(answer, Failed):
            refusal = TROUBLE.get(answer.trouble, (424, "Backend", answer.message, 0))
            raise RefusedError(*refusal)
        assert isinstance(answer, Scores)
        if answer.errors[0] is not None:
            raise RefusedError(424, "Backend", answer.errors[0])
        scores = np.frombuffer(answer.lists[0], np.float64)
        if np.isnan(scores).any():
            raise RefusedError(*TROUBLE["deadline"])
        return scores

    async def _tell(self, path: str, send: Send, head: bool) -> None:
        """Answer what the scorer says of itself. Raises RefusedError."""
        if path == "/info":
            told = msgspec.json.encode(self._describe())
            await send_answer(send, 200, told, [(b"content-type", b"application/json")], head)
        elif path == f"{PREFIX}metrics":
            kind = [(b"content-type", CONTENT_TYPE_LATEST.encode())]
            await send_answer(send, 200, telemetry.write_metrics(), kind, head)
        elif path == f"{PREFIX}live":
            await send_json(send, 200, {"live": True})
        else:
            ready = self._scorer.ready
            telemetry.MODEL_READY.set(ready)
            if path == "/health" and ready:
                await send_answer(send, 200, b"", [], head)
            elif path == "/health":
                raise RefusedError(503, "Unhealthy", self._scorer.error or "it is being loaded", 1)
            else:
                reasons = [] if ready else [f"model: {self._scorer.error or 'it is being loaded'}"]
                state = {"ready": ready, "model": ready}
                await send_json(
                    send, 200 if ready else 503, state | ({"reasons": reasons} if reasons else {})
                )

    def _describe(self) -> dict[str, object]:
        """What text-embeddings-inference's /info tells, as far as it is so here."""
        settings = self.settings
        return {
            "model_id": self._scorer.name,
            "model_sha": None,
            "model_dtype": "float32",
            "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
            "max_concurrent_requests": settings.rerank.max_waiting,
            "max_input_length": 512,
            "max_batch_tokens": settings.scorer.max_texts * 512,
            "max_batch_requests": None,
            "max_client_batch_size": settings.scorer.max_texts,
            "auto_truncate": True,
            "tokenization_workers": 1,
            "version": __version__,
        }
