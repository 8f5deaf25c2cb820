"""Rerankers behind HTTP: text-embeddings-inference (TEI) and the Cohere and Jina shapes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import urllib3
from numpy.typing import NDArray

from es_rerank.errors import ModelError

Shape = Literal["tei", "cohere"]
MAX_BATCH = 32
"""TEI refuses more texts than this in one call (its --max-client-batch-size)."""


class RemoteReranker:
    """A `/rerank` server. The address ends in the path to call; `/rerank` is added to a bare host.

    TEI answers `[{"index", "score"}]`, Cohere and Jina `{"results": [{"index",
    "relevance_score"}]}`; which one is asked for follows from the path, /v1 and /v2 being Cohere's.
    """

    def __init__(
        self, url: str, model: str = "", api_key: str | None = None, timeout_s: float = 5.0
    ) -> None:
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ModelError(
                f"[model] url {url!r} is no address: give one such as http://localhost:8080/rerank"
            )
        self.url = url if parts.path.strip("/") else url.rstrip("/") + "/rerank"
        self.shape: Shape = "cohere" if "/v1/" in self.url or "/v2/" in self.url else "tei"
        self.name = model or parts.netloc
        self._model = model
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(total=timeout_s), retries=urllib3.Retry(2, backoff_factor=0.1)
        )

    def score_pairs(self, query: str, texts: Sequence[str]) -> NDArray[np.float64]:
        """Score each text for the query, in calls of at most 32 texts. Returns (n,) scores.

        Raises ModelError when the server cannot be reached or answers something else.
        """
        scores = np.zeros(len(texts))
        for start in range(0, len(texts), MAX_BATCH):
            part = list(texts[start : start + MAX_BATCH])
            scores[start : start + len(part)] = self._score_batch(query, part)
        return scores

    def score_lists(
        self, lists: Sequence[tuple[str, Sequence[str]]]
    ) -> list[NDArray[np.float64] | Exception]:
        """Score several queries' texts, one query per call, as such servers take them.

        What a server refuses for one query is that query's error; once it cannot be reached, the
        queries left are not tried.
        """
        answers: list[NDArray[np.float64] | Exception] = []
        for query, texts in lists:
            try:
                answers.append(self.score_pairs(query, texts))
            except ModelError as error:
                answers.append(error)
                if isinstance(error.__cause__, urllib3.exceptions.HTTPError):
                    break
        return answers + answers[-1:] * (len(lists) - len(answers))

    def unknown_share(self, text: str) -> float:
        """The server's vocabulary is not known here: 0."""
        return 0.0

    def _score_batch(self, query: str, texts: list[str]) -> NDArray[np.float64]:
        body: dict[str, Any]
        if self.shape == "tei":
            body = {"query": query, "texts": texts, "truncate": True}
        else:
            body = {"model": self._model, "query": query, "documents": texts, "top_n": len(texts)}
        try:
            answer = self._pool.request(
                "POST", self.url, body=json.dumps(body).encode(), headers=self._headers
            )
        except urllib3.exceptions.HTTPError as error:
            raise ModelError(f"the reranker at {self.url} cannot be reached: {error}") from error
        if answer.status != 200:
            raise ModelError(
                f"the reranker at {self.url} answered {answer.status}: {answer.data[:200]!r}"
            )
        return self._read(answer.data, len(texts))

    def _read(self, data: bytes, count: int) -> NDArray[np.float64]:
        key = "score" if self.shape == "tei" else "relevance_score"
        scores = np.full(count, np.nan)
        try:
            answer = json.loads(data)
            for item in answer if self.shape == "tei" else answer["results"]:
                scores[int(item["index"])] = float(item[key])
        except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
            raise ModelError(
                f"the reranker at {self.url} did not answer in the {self.shape} shape: "
                f"{data[:200]!r}"
            ) from error
        if not np.isfinite(scores).all():
            raise ModelError(f"the reranker at {self.url} left texts unscored")
        return scores
