"""What a server's answer means when it is not 200: whether and when to ask again, how to mend it.

Nothing of a query or a text is ever repeated in a message: messages are logged.
"""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from es_rerank.errors import ModelError

TOO_MANY = re.compile(
    r"batch size|at most \d+ items|too many (?:texts|documents|inputs|items)|documents? cannot "
    r"exceed|max(?:imum)? (?:number|allowed|of)|length limit exceeded|too large",
    re.IGNORECASE,
)
"""In a 400 or 422, where a server says that there were too many texts rather than wrong ones."""
LIMITS = (
    re.compile(r"maximum allowed batch size (\d+)", re.IGNORECASE),
    re.compile(r"at most (\d+) items", re.IGNORECASE),
    re.compile(r"(?:cannot exceed|exceeds?|max\w*(?: of| is|:)?) (\d[\d,]*)", re.IGNORECASE),
)
SHOWN = 200
SHORT = 8
LONGEST_REST_S = 60.0


class UnavailableError(ModelError):
    """The server cannot answer now: another may, or the same one later."""


class BusyError(UnavailableError):
    """The server answered 429 or 503. after_s: in how many seconds it wants to be asked again."""

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class LateError(UnavailableError, TimeoutError):
    """The server did not answer in time. What is slow is not asked the same thing again."""


class TooManyError(ModelError):
    """There were too many texts for one request. most: how many would do, if the server said so."""

    def __init__(self, message: str, most: int | None = None) -> None:
        super().__init__(message)
        self.most = most


def refuse(
    who: str,
    status: int,
    headers: Mapping[str, str],
    data: bytes,
    secrets: Sequence[str],
) -> ModelError:
    """The error that an answer other than 200 is.

    who: the address as messages name it. secrets: the query, then the texts.
    """
    full = read_fault(data)
    said = hide(full, secrets)
    told = f"{who} answered {status}" + (f" ({said})" if said else "")
    if status in {429, 503}:
        after_s = read_retry_after(headers.get("retry-after"))
        mend = "" if status == 503 else "; raise its limit, or add addresses to [model] url"
        return BusyError(told + mend, after_s)
    if status == 413 or (status in {400, 422} and TOO_MANY.search(full)):
        most = find_limit(full)
        mend = "; set [model] batch_size, or let it take larger requests"
        return TooManyError(told + mend, most)
    if status >= 500 or status in {408, 424}:
        return UnavailableError(f"{told}; its log says why")
    if status in {401, 403}:
        return ModelError(f"{told}; set ES_RERANK_MODEL__API_KEY, or [model] api_key_file")
    if status in {404, 405} or 300 <= status < 400:
        return ModelError(
            f"{told}; correct the path in [model] url, [model] api, or the model in [model] name"
        )
    return ModelError(f"{told}; check [model] api and [model] name")


def read_fault(data: bytes) -> str:
    """What the server says is wrong, on one line; empty where that cannot be told."""
    try:
        said = read_message(json.loads(data))
    except ValueError:
        said = data[: 4 * SHOWN].decode("utf-8", "replace")
        said = "" if "<" in said else said
    return " ".join("".join(c if c.isprintable() else " " for c in said).split())


def hide(said: str, secrets: Sequence[str]) -> str:
    """A message cut to what may be shown; empty where it repeats a secret, or much of one."""
    lowered = said.lower()
    for number, secret in enumerate(secrets):
        words = " ".join(secret.lower().split())
        if number and len(words) < SHORT:
            continue  # a text of a character or two is in every message
        if words and (words in lowered or (len(words) > 20 and words[:20] in lowered)):
            return ""
    return said[:SHOWN]


def read_message(answer: Any) -> str:
    """The message in a JSON error: TEI's, OpenAI's, Cohere's, FastAPI's with its list of faults."""
    if isinstance(answer, str):
        return answer
    if isinstance(answer, list):
        return "; ".join(filter(None, map(read_message, answer)))
    if isinstance(answer, dict):
        if "msg" in answer:  # a fault in pydantic's list, which repeats the input beside it
            where = ".".join(str(part) for part in answer.get("loc", ()))
            return f"{where}: {answer['msg']}" if where else str(answer["msg"])
        for key in ("error", "message", "detail"):
            if said := read_message(answer.get(key)):
                return said
    return ""


def find_limit(said: str) -> int | None:
    """How many texts one request may have, as the server says; None where it does not."""
    for pattern in LIMITS:
        found = pattern.search(said)
        if found is not None and (most := int(found[1].replace(",", ""))) > 0:
            return most
    return None


def read_retry_after(value: str | None) -> float | None:
    """Seconds until the server wants to be asked again (RFC 9110, 10.2.3), 60 at most."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), LONGEST_REST_S) if math.isfinite(seconds) else None
