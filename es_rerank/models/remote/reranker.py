"""A reranker behind HTTP: requests of a size it takes, at once, and again where that helps."""

from __future__ import annotations

import itertools
import math
import ssl
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import urllib3
from numpy.typing import NDArray

from es_rerank.errors import ModelError
from es_rerank.models.remote.address import Address
from es_rerank.models.remote.refusal import LateError, TooManyError, UnavailableError
from es_rerank.models.remote.shapes import SHAPES, Api, find_service

Scores = NDArray[np.float64]
TRIES = 4
"""Requests for the same texts at most, at each address."""
MOST_WAIT_S = 0.05
"""How long a first try waits for an address that is left alone, at most."""


class RemoteReranker:
    """A PairModel behind one address, or several that have the same model.

    Texts that one request cannot hold are split and asked for at once. 429, 503 and connection
    errors are tried again, at another address first, as long as there is time: deadline() tells
    when that ends (monotonic), timeout_s holds where it does not. Safe to use from several threads.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        model: str = "",
        api_key: str | None = None,
        timeout_s: float = 5.0,
        *,
        api: Api | None = None,
        batch_size: int | None = None,
        parallel: int = 8,
        ca_certs: Path | None = None,
        deadline: Callable[[], float] = lambda: math.inf,
    ) -> None:
        headers = {"content-type": "application/json", "accept": "application/json"}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        listed = [urls] if isinstance(urls, str) else list(urls)
        for url in listed:
            check_address(url, model)
        pool = urllib3.PoolManager(
            num_pools=len(listed) + 1, maxsize=parallel, ssl_context=trust(ca_certs)
        )
        self.addresses = [Address(url, api, pool, headers, batch_size) for url in listed]
        self.name = model or urlsplit(listed[0]).netloc
        self._model = model
        self._timeout_s = timeout_s
        self._deadline = deadline
        self._turn = itertools.count()
        self._threads = ThreadPoolExecutor(parallel, "reranker") if parallel > 1 else None

    def learn(self, timeout_s: float) -> None:
        """Ask each server what it takes, where only it can tell. Those that are away come later."""
        self._learn(time.monotonic() + timeout_s)

    @property
    def most(self) -> int:
        """Texts that one request may have, at any of the addresses, as far as it is known."""
        return min(address.most for address in self.addresses)

    def score_pairs(self, query: str, texts: Sequence[str]) -> Scores:
        """Score each text for the query. Returns (n,) scores.

        Raises ModelError when no server answers in time, or one refuses; it says how to mend it.
        """
        (scores,) = self.score_lists([(query, texts)])
        if isinstance(scores, Exception):
            raise scores
        return scores

    def score_lists(self, lists: Sequence[tuple[str, Sequence[str]]]) -> list[Scores | Exception]:
        """Score several queries' texts. Returns (n,) per query, or the error that befell it.

        What a server refuses for one query is that query's error; once none can be reached, what is
        not asked yet is not tried.
        """
        until = min(self._deadline(), time.monotonic() + self._timeout_s)
        self._learn(time.monotonic() + (until - time.monotonic()) / 4)
        most = self.most
        parts = [
            (k, query, part) for k, (query, texts) in enumerate(lists) for part in cut(texts, most)
        ]
        lost: list[ModelError] = []

        def ask(query: str, texts: Sequence[str]) -> Scores:
            if lost:
                raise lost[0]
            try:
                return self._ask(query, texts, until)
            except UnavailableError as error:
                lost.append(error)
                raise

        if self._threads is None or len(parts) == 1:
            answers = [attempt(ask, query, texts) for _, query, texts in parts]
        else:
            futures: list[Future[Scores]] = [
                self._threads.submit(ask, query, texts) for _, query, texts in parts
            ]
            answers = [attempt(future.result) for future in futures]
        joined: list[Scores | Exception] = []
        for k in range(len(lists)):
            own = [answer for (of, _, _), answer in zip(parts, answers, strict=True) if of == k]
            joined.append(join(own))
        return joined

    def unknown_share(self, text: str) -> float:
        """The server's vocabulary is not known here: 0."""
        return 0.0

    def _learn(self, until: float) -> None:
        for address in self.addresses:
            address.learn(until)

    def _ask(self, query: str, texts: Sequence[str], until: float) -> Scores:
        """Score texts at whichever address answers in time. Raises ModelError."""
        slow: set[Address] = set()
        failed: UnavailableError | None = None
        for _ in range(TRIES * len(self.addresses)):
            others = [address for address in self.addresses if address not in slow]
            if not others:
                break
            start = next(self._turn) % len(others)
            address = min(others[start:] + others[:start], key=lambda each: round(each.rest_s(), 3))
            rest_s = address.rest_s()
            over = time.monotonic() + rest_s + address.asked_s >= until
            # Who failed there itself may wait for another try; others do not wait for it.
            if (failed is None and rest_s > MOST_WAIT_S) or (over and (rest_s or failed)):
                raise failed or address.explain_rest()
            if rest_s:
                time.sleep(rest_s)
            if len(texts) > address.most:
                parts = cut(texts, address.most)
                return np.concatenate([self._ask(query, part, until) for part in parts])
            spare = any(not other.rest_s() for other in others if other is not address)
            left_s = until - time.monotonic()
            try:
                return address.score(
                    query, texts, self._model, until - left_s / 2 if spare else until
                )
            except TooManyError:
                if len(texts) <= address.most:
                    raise
            except LateError as error:
                failed = error
                slow.add(address)
            except UnavailableError as error:
                failed = error
        assert failed is not None
        raise failed


def attempt(work: Callable[..., Scores], *arguments: object) -> Scores | Exception:
    """What comes of it, or what it raises."""
    try:
        return work(*arguments)
    except Exception as error:
        return error


def join(parts: Sequence[Scores | Exception]) -> Scores | Exception:
    """The parts' scores as one, or the first error among them."""
    scores = [np.zeros(0)]
    for part in parts:
        if isinstance(part, Exception):
            return part
        scores.append(part)
    return np.concatenate(scores)


def cut(texts: Sequence[str], most: int) -> list[Sequence[str]]:
    """Cut texts into as few parts as there must be, of much the same size."""
    count = math.ceil(len(texts) / most)
    ends = [len(texts) * i // count for i in range(count + 1)] if count else []
    return [texts[start:end] for start, end in itertools.pairwise(ends)]


def check_address(url: str, model: str) -> None:
    """Raises ModelError for what is no address, and for a service that wants a model named."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise ModelError(
            f"[model] url {url!r} is no address: give one such as http://localhost:8080/rerank"
        )
    service = find_service(parts)
    if service is not None and not model:
        raise ModelError(
            f"{parts.hostname} has several models: set [model] name, such as "
            f"{EXAMPLES[service]!r} (api {SHAPES[service].api})"
        )


def trust(ca_certs: Path | None) -> ssl.SSLContext:
    """Check certificates by these authorities, the system's by default. Raises ModelError."""
    try:
        return ssl.create_default_context(cafile=None if ca_certs is None else str(ca_certs))
    except (OSError, ssl.SSLError) as error:
        raise ModelError(
            f"[model] ca_certs {ca_certs} cannot be read: {error.strerror or error}; name a PEM "
            "file of certificates"
        ) from None


EXAMPLES: dict[Api, str] = {
    "cohere": "rerank-v3.5",
    "jina": "jina-reranker-v2-base-multilingual",
    "voyage": "rerank-2.5",
}
