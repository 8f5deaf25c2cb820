"""Whether searches would be served well here: the model is warm and the cluster answers."""

from __future__ import annotations

import asyncio
import time

from es_rerank import telemetry
from es_rerank.proxy.search.ranker import Ranker
from es_rerank.proxy.upstream import AnswerTooLargeError, Upstream, UpstreamError

FRESH_S = 1.0
PROBE_S = 2.0
PROBE_BYTES = 1_000_000


class Readiness:
    """Asks the cluster once a second at most, however many ask here."""

    def __init__(self, upstream: Upstream, ranker: Ranker) -> None:
        self._upstream = upstream
        self._ranker = ranker
        self._missing: str | None = None
        self._fresh_until = 0.0
        self._asking = asyncio.Lock()

    async def look(self) -> dict[str, object]:
        """`ready`, `model`, `upstream`, and the `reasons` where something is missing."""
        missing = await self._probe()
        reasons = [] if missing is None else [f"upstream: {missing}"]
        if not self._ranker.ready:
            reasons.insert(0, f"model: {self._ranker.error or 'it is being loaded'}")
        telemetry.MODEL_READY.set(self._ranker.ready)
        state: dict[str, object] = {
            "ready": not reasons,
            "model": self._ranker.ready,
            "upstream": missing is None,
        }
        return {**state, "reasons": reasons} if reasons else state

    async def _probe(self) -> str | None:
        """What is wrong with the cluster; None when it answers."""
        async with self._asking:
            if time.monotonic() >= self._fresh_until:
                self._missing = await self._ask()
                self._fresh_until = time.monotonic() + FRESH_S
                telemetry.UPSTREAM_REACHABLE.set(self._missing is None)
            return self._missing

    async def _ask(self) -> str | None:
        credentials = self._upstream.own_credentials()
        asked = self._upstream.ask("GET", b"/", credentials, None, PROBE_BYTES)
        try:
            answer = await asyncio.wait_for(asked, PROBE_S)
        except TimeoutError:
            return f"no answer within {PROBE_S:g} seconds"
        except AnswerTooLargeError:
            return None
        except UpstreamError as error:
            return str(error)
        return None if answer.status < 500 else f"answered {answer.status}"
