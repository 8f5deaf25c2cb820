"""The page that a search asks for, and the rank window that it allows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from es_rerank.proxy.search.request import SearchRequest

DEFAULT_SIZE = 10
WHOLE_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Page:
    """The slice of hits that the client asked for."""

    start: int
    size: int


def read_page(request: SearchRequest) -> Page | None:
    """The page asked for; parameters win over the body, as in the engine.

    None when it is no page, or the body's is none: the cluster shall say what is wrong with it.
    """
    found = {}
    for name, default in (("from", 0), ("size", DEFAULT_SIZE)):
        given: list[Any] = [request.value(name)] if name in request.body else []
        if (parameter := request.parameter(name)) is not None:
            given.append(parameter)
        for value in given:
            if isinstance(value, bool) or not WHOLE_NUMBER.fullmatch(str(value)):
                return None
        found[name] = int(given[-1]) if given else default
    return Page(found["from"], found["size"])


def clamp_window(request: SearchRequest, window: int) -> int:
    """The window, no larger than the smallest `rescore.window_size`: past it the engine's order
    is not by one score. 0 when a rescorer cannot be read."""
    rescore = request.value("rescore")
    for step in rescore if isinstance(rescore, list) else [rescore]:
        if isinstance(step, dict):
            size = step.get("window_size", DEFAULT_SIZE)
            window = min(window, int(size) if WHOLE_NUMBER.fullmatch(str(size)) else 0)
    return window
