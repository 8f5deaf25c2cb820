"""Models behind an OpenAI-compatible endpoint: vLLM, Ollama, llama.cpp, hosted services.

`POST {url}/chat/completions` (OpenAI's API reference, "Create chat completion"), several at once,
tried again where that helps, and within a budget.
"""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import urllib3

from es_rerank.errors import ConfigError, ModelError
from es_rerank.models.remote.refusal import hide, read_fault, read_retry_after
from es_rerank.models.runtime import mend_text
from es_rerank.models.writer.budget import Budget
from es_rerank.models.writer.prompt import Cost, CutShortError, Prompt, estimate_tokens

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
SLACK = 1.3  # of the estimate of a prompt's tokens


class SpentError(ModelError):
    """The budget is used up."""


@dataclass(frozen=True)
class EndpointOptions:
    """How an endpoint is asked.

    key_variable: the environment variable that holds the API key. prices: of a million tokens.
    extra: further keys of each request. limit_key: the name under which the length is given.
    """

    url: str
    model: str
    key_variable: str | None = None
    concurrency: int = 8
    timeout_s: float = 60.0
    retries: int = 5
    temperature: float | None = 0.0
    sees: bool = False
    budget_tokens: int | None = None
    budget_money: float | None = None
    price_in: float = 0.0
    price_out: float = 0.0
    limit_key: str = "max_tokens"
    extra: Mapping[str, Any] = field(default_factory=dict)
    first_pause_s: float = FIRST_PAUSE_S


class EndpointWriter:
    """A writer behind HTTP. Raises ConfigError when its address or its key will not do.

    The key is sent to the endpoint, and shown nowhere. Safe to use from several threads.
    """

    def __init__(self, options: EndpointOptions) -> None:
        parts = urlsplit(options.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(
                f"the generator's url {options.url!r} is no address: give one such as "
                "http://localhost:8000/v1"
            )
        if "@" in parts.netloc:
            raise ConfigError(
                "the generator's url holds credentials, which show in logs: name the environment "
                "variable of the key by key_variable"
            )
        path = parts.path.rstrip("/").removesuffix("/chat/completions")
        self.url = parts._replace(path=f"{path}/chat/completions", fragment="").geturl()
        self.name = options.model
        self.sees = options.sees
        self._options = options
        self._headers = {"content-type": "application/json", "accept": "application/json"}
        if options.key_variable:
            key = os.environ.get(options.key_variable, "").strip()
            if not key:
                raise ConfigError(
                    f"the generator's key is to stand in ${options.key_variable}, which is not set"
                )
            self._headers["authorization"] = f"Bearer {key}"
        self._who = f"the endpoint at {parts._replace(query='', fragment='').geturl()}"
        self.budget = Budget(
            options.budget_tokens,
            options.budget_money,
            price_in=options.price_in,
            price_out=options.price_out,
        )
        self._pool = urllib3.PoolManager(maxsize=options.concurrency)
        self._stop = threading.Event()
        self._ratio = 0.0  # of a prompt's tokens, as they were counted, to our estimate at most

    @property
    def cost(self) -> Cost:
        """What was used until now."""
        return self.budget.spent

    def write(self, prompts: Sequence[Prompt]) -> list[str]:
        """Write a text for each prompt, several at once.

        Raises CutShortError when the budget ends or the endpoint is gone, with what was written.
        """
        self._stop.clear()
        written: list[str | None] = [None] * len(prompts)
        failures: list[ModelError] = []

        def work(row: int) -> None:
            if self._stop.is_set():
                return
            try:
                written[row] = self._write(prompts[row])
            except ModelError as error:
                failures.append(error)
                self._stop.set()

        rows = list(range(len(prompts)))
        if rows and self.budget.is_limited and not self._ratio:
            work(rows.pop(0))  # alone: how its tokens are counted is not known before
        with ThreadPoolExecutor(min(self._options.concurrency, max(len(rows), 1))) as threads:
            list(threads.map(work, rows))
        done = [text for text in written if text is not None]
        if failures:
            raise CutShortError(str(failures[0]), written)
        return done

    def _write(self, prompt: Prompt) -> str:
        tokens_in = int(prompt.tokens * max(self._ratio, 1.0) * SLACK)
        most = self.budget.price(tokens_in, prompt.max_tokens)
        if not self.budget.set_aside(most):
            spent = self.budget.spent
            money = f", {spent.money:.4f} of money" if spent.money else ""
            raise SpentError(
                f"the budget of {self.name} is used up ({spent.tokens:,} tokens{money}): what is "
                "done is kept; raise budget_tokens or budget_money, or run again with a new one"
            )
        used = Cost()
        try:
            answer = self._ask(prompt)
            text, used = self._read(answer, prompt)
            return text
        finally:
            self.budget.settle(most, used)

    def _ask(self, prompt: Prompt) -> Any:
        """Ask, and again after a pause where that helps. Raises ModelError."""
        body = json.dumps(self._body(prompt)).encode()
        pause_s = self._options.first_pause_s
        for attempt in range(self._options.retries + 1):
            said, after_s = "", None
            try:
                answer = self._pool.request(
                    "POST",
                    self.url,
                    body=body,
                    headers=self._headers,
                    timeout=self._options.timeout_s,
                    retries=False,
                    redirect=False,
                )
            except urllib3.exceptions.HTTPError as error:
                said = f"{self._who} cannot be reached ({type(error).__name__})"
            else:
                if answer.status == 200:
                    return self._decode(answer.data)
                fault = hide(read_fault(answer.data), [prompt.task, prompt.data])
                said = f"{self._who} answered {answer.status}" + (f" ({fault})" if fault else "")
                after_s = read_retry_after(answer.headers.get("retry-after"))
                if answer.status not in AGAIN:
                    raise ModelError(f"{said}; {mend(answer.status)}")
            if attempt == self._options.retries or self._stop.is_set():
                raise ModelError(f"{said}, after {attempt + 1} tries; what is done is kept")
            wait_s = pause_s * random.uniform(0.75, 1.25) if after_s is None else after_s
            self._stop.wait(min(wait_s, LONGEST_PAUSE_S))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        raise AssertionError

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        user: Any = mend_text(prompt.user)
        if prompt.images and self.sees:
            images = [{"type": "image_url", "image_url": {"url": url}} for url in prompt.images]
            user = [{"type": "text", "text": user}, *images]
        body: dict[str, Any] = {
            "model": self.name,
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": user},
            ],
            self._options.limit_key: prompt.max_tokens,
            "stream": False,
        }
        if self._options.temperature is not None:
            body["temperature"] = self._options.temperature
        return {**body, **self._options.extra}

    def _decode(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except ValueError:
            raise ModelError(f"{self._who} answered no JSON; {mend(404)}") from None

    def _read(self, answer: Any, prompt: Prompt) -> tuple[str, Cost]:
        try:
            text = answer["choices"][0]["message"]["content"]
            if not isinstance(text, str | None):
                raise TypeError
        except (KeyError, IndexError, TypeError):
            raise ModelError(
                f"{self._who} did not answer as chat completions do; {mend(404)}"
            ) from None
        text = (text or "").strip()
        usage = answer.get("usage") or {}
        tokens_in, tokens_out = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if isinstance(tokens_in, int):
            self._ratio = max(self._ratio, tokens_in / prompt.tokens)
        return text, self.budget.price(
            tokens_in if isinstance(tokens_in, int) else prompt.tokens,
            tokens_out if isinstance(tokens_out, int) else estimate_tokens(text),
        )


def mend(status: int) -> str:
    """What to do about an answer."""
    if status in {401, 403}:
        return "check the key in the variable that key_variable names"
    if status in {404, 405} or 300 <= status < 400:
        return "correct the generator's url or model"
    return "check the generator's model, and limit_key and extra"
