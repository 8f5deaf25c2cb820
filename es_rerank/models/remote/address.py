"""One address of a rerank server: what it takes, and whether it should be left alone for now."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import urllib3
from numpy.typing import NDArray

from es_rerank import telemetry
from es_rerank.errors import ModelError
from es_rerank.models.remote.refusal import (
    BusyError,
    LateError,
    TooManyError,
    UnavailableError,
    refuse,
)
from es_rerank.models.remote.shapes import SHAPES, Api, Shape, ShapeError, find_api, find_service

CONNECT_S = 2.0
PROBE_S = 2.0
FIRST_REST_S = 0.025
LONGEST_REST_S = 5.0
"""An address that failed is left alone for this long, doubled with each failure, up to that."""
FAIR_S = 0.1
"""To miss less is no failure of the server's: a client may ask for any time."""
MAX_BYTES = 64 * 1024 * 1024
PART = 65_536
OUTCOMES: tuple[tuple[type[ModelError], str], ...] = (
    (TooManyError, "too-many"),
    (BusyError, "busy"),
    (LateError, "late"),
    (UnavailableError, "unreachable"),
    (ModelError, "refused"),
)
TIMEOUT_HEADER = "x-es-rerank-timeout-ms"
GUESS_S = 300.0
"""How long a limit holds that was found by trial alone."""


class Address:
    """Where requests go. Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        api: Api | None,
        pool: urllib3.PoolManager,
        headers: Mapping[str, str],
        batch_size: int | None = None,
    ) -> None:
        parts = urlsplit(url)
        service = find_service(parts)
        if not parts.path.strip("/"):
            path = SHAPES[api or service or "tei"].path
            parts = parts._replace(path=path)
        self.url = parts.geturl()
        self.asked_s = 0.0  # what a request took lately
        self._who = f"the reranker at {parts._replace(query='', fragment='').geturl()}"
        self._base = parts._replace(path=parts.path.rstrip("/").rpartition("/")[0], query="")
        self._pool = pool
        self._headers = headers
        self._api = api or find_api(parts)
        # What is named needs no asking, but TEI can tell its limit.
        self._known = self._api not in {None, "tei"}
        self._fixed = batch_size
        self._limit: int | None = None
        self._guess: tuple[int, float] | None = None
        self._failures = 0
        self._rest_until = 0.0
        self._why = ""
        self._lock = threading.Lock()
        self._learning = threading.Lock()

    @property
    def shape(self) -> Shape:
        """What it speaks, TEI's as long as nothing else is known."""
        return SHAPES[self._api or "tei"]

    @property
    def most(self) -> int:
        """Texts that one request may have."""
        most = self._fixed or self._limit or self.shape.most
        guess = self._guess
        if guess is not None and time.monotonic() < guess[1]:
            most = min(most, guess[0])
        return max(most, 1)

    def rest_s(self) -> float:
        """Seconds for which it should be left alone yet."""
        return max(self._rest_until - time.monotonic(), 0.0)

    def explain_rest(self) -> ModelError:
        """Why it is not asked now."""
        return UnavailableError(f"{self._why}; it is left alone for {self.rest_s():.1f} s more")

    def score(
        self, query: str, texts: Sequence[str], model: str, until: float
    ) -> NDArray[np.float64]:
        """Score texts by one request, (n,), until then (monotonic).

        Raises UnavailableError, TooManyError, or another ModelError that says how to mend it.
        """
        began = time.monotonic()
        try:
            scores = self._score(query, texts, model, until)
        except ModelError as error:
            outcome = next(name for kind, name in OUTCOMES if isinstance(error, kind))
            telemetry.REMOTE_REQUESTS.labels(outcome).inc()
            if isinstance(error, TooManyError):
                self._lower(error.most, len(texts))
            elif isinstance(error, UnavailableError):
                self._fail(error, until - began)
            raise
        with self._lock:
            self._failures, self._rest_until = 0, 0.0
        self._known = True
        self.asked_s = time.monotonic() - began
        telemetry.REMOTE_REQUESTS.labels("ok").inc()
        telemetry.REMOTE_SECONDS.observe(self.asked_s)
        return scores

    def _score(
        self, query: str, texts: Sequence[str], model: str, until: float
    ) -> NDArray[np.float64]:
        body = self.shape.write(query, texts, model)
        status, headers, data = self._exchange("POST", self.url, until, body)
        if status != 200:
            raise refuse(self._who, status, headers, data, [query, *texts])
        try:
            return self.shape.read(data, len(texts))
        except ShapeError as error:
            raise ModelError(f"{self._who}: {error}; check [model] url and [model] api") from None

    def learn(self, until: float) -> None:
        """Ask the server what it is and how many texts it takes, unless that is known.

        TEI tells by GET /info, infinity by GET /models; what answers neither is taken for TEI. What
        does not answer at all is left alone for a while, and asked again after that.
        """
        if self._known or self.rest_s():
            return
        with self._learning:
            began = time.monotonic()
            until = min(until, began + PROBE_S)
            try:
                if not self._known:
                    self._learn(until)
                    self._known = True
            except UnavailableError as error:
                self._fail(error, until - began)

    def _learn(self, until: float) -> None:
        limit = self._ask_json("/info", until).get("max_client_batch_size")
        if isinstance(limit, int) and limit > 0:
            self._limit, self._api = limit, self._api or "tei"
        elif self._api is None:
            models = self._ask_json("/models", until).get("data")
            listed = models if isinstance(models, list) else [models]
            if any(isinstance(m, dict) and m.get("owned_by") == "infinity" for m in listed):
                self._api = "infinity"

    def _ask_json(self, path: str, until: float) -> dict[str, Any]:
        """What the server tells of itself; empty where it has nothing. Raises as _exchange."""
        url = self._base._replace(path=self._base.path + path).geturl()
        status, _, data = self._exchange("GET", url, until, None)
        try:
            found = json.loads(data) if status == 200 else None
        except ValueError:
            found = None
        return found if isinstance(found, dict) else {}

    def _exchange(
        self, method: str, url: str, until: float, body: bytes | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request and read the whole answer. Raises UnavailableError."""
        left = until - time.monotonic()
        headers = self._headers
        if self.shape.api == "tei":  # ours stop at what is late; TEI does not mind
            headers = {**headers, TIMEOUT_HEADER: str(max(round(1000 * left), 1))}
        if left <= 0:
            raise LateError(f"{self._who} was not asked: there was no time left")
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(connect=min(left, CONNECT_S), read=left),
                retries=False,
                preload_content=False,
            )
            try:
                data = read_whole(response, until)
            except BaseException:
                response.close()  # what comes later must not be taken for the next answer
                raise
            response.release_conn()
        except (urllib3.exceptions.TimeoutError, TimeoutError) as error:
            if isinstance(error, urllib3.exceptions.NewConnectionError):
                raise self._away(error) from error
            raise LateError(f"{self._who} did not answer within {left:.2g} s") from None
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise self._away(error) from error
        return response.status, response.headers, data

    def _away(self, error: Exception) -> UnavailableError:
        return UnavailableError(
            f"{self._who} cannot be reached: {error}; start it, or correct [model] url"
        )

    def _fail(self, error: UnavailableError, had_s: float) -> None:
        """Leave it alone for a while: as long as it asks for, or longer with each failure.

        had_s: the time it was given. To have missed a very short one is no failure.
        """
        if isinstance(error, LateError) and had_s < FAIR_S:
            return
        with self._lock:
            if not self.rest_s():  # or others that were under way have failed just now
                self._failures += 1
            rest_s = min(FIRST_REST_S * 2 ** min(self._failures - 1, 20), LONGEST_REST_S)
            rest_s *= random.uniform(0.75, 1.25)  # so that processes do not come back in step
            if isinstance(error, BusyError) and error.after_s is not None:
                rest_s = error.after_s
            self._rest_until = max(self._rest_until, time.monotonic() + rest_s)
            self._why = str(error)

    def _lower(self, most: int | None, sent: int) -> None:
        """Take the server's word for its limit, or half of what it refused."""
        if most is not None and most < sent:
            self._limit = most
        elif sent > 1:
            self._known &= self._api != "tei"  # started anew with another limit, perhaps
            self._guess = (min(sent // 2, self.most), time.monotonic() + GUESS_S)


def read_whole(response: urllib3.BaseHTTPResponse, until: float) -> bytes:
    """An answer's body, however slowly it drips. Raises TimeoutError, ValueError when too large."""
    parts = []
    size = 0
    while part := response.read1(PART):
        size += len(part)
        if size > MAX_BYTES:
            raise ValueError(f"its answer has more than {MAX_BYTES} bytes")
        if time.monotonic() > until:
            raise TimeoutError
        parts.append(part)
    return b"".join(parts)
