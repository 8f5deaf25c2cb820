"""Send again what a busy or absent cluster did not take, with growing pauses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from es_rerank.errors import ClusterError

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # a minute of a cluster that is too busy
ABSENT_PAUSES = 4  # of those where nobody answers: seven seconds, a node's quick restart
BUSY = frozenset({429, 502, 503, 504})
BLOCKS = frozenset({"cluster_block_exception", "index_closed_exception"})
# A shard that no node holds does not come back by waiting a little longer.
SHORT = frozenset({"no_shard_available_action_exception", "search_phase_execution_exception"})

Result = TypeVar("Result")


def patiently(call: Callable[[], Result], on_refusal: Callable[[], None] = lambda: None) -> Result:
    """Call until it is answered; only for what may be done twice.

    Raises the last ClusterError when it is no matter of time, or when the time is up.
    """
    for attempt in range(len(PAUSES) + 1):
        try:
            return call()
        except ClusterError as error:
            if attempt >= tries(error):
                raise
            on_refusal()
            wait(attempt)
    raise AssertionError("the last attempt returns or raises")


def tries(error: ClusterError) -> int:
    """How many times to try again after such an error."""
    if error.status is None or error.kind in SHORT:
        return ABSENT_PAUSES
    return len(PAUSES) if error.status in BUSY and error.kind not in BLOCKS else 0


def wait(attempt: int) -> None:
    """Pause before the next attempt, not in step with others."""
    time.sleep(PAUSES[min(attempt, len(PAUSES) - 1)] * random.uniform(0.8, 1.0))
