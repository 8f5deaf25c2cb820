"""Keep an enriched index up to date: look at the source's sequence numbers, again and again."""

from __future__ import annotations

import time
from collections.abc import Callable

from es_rerank.cluster.patience import BUSY
from es_rerank.enrich.run.reindex import Run
from es_rerank.errors import ClusterError

LONGEST_PAUSE_S = 60.0


def follow_source(
    run: Run, poll_s: float, say: Callable[[str], None], *, looks: int | None = None
) -> None:
    """Carry what changes in the source into the run's index, every `poll_s` seconds.

    looks: after how many to stop; never if None. A cluster that is away or busy is waited for;
    raises ClusterError when it refuses us.
    """
    if not run.plan.source.is_live:
        say("A file does not change: there is nothing to follow.")
        return
    say(f"Following {run.plan.source.described.index} into {run.index}; stop it with Ctrl-C.")
    pause = poll_s
    done = 0
    while looks is None or done < looks:
        done += 1
        try:
            carried, removed = run.follow()
        except ClusterError as error:
            if error.status is not None and error.status not in BUSY:
                raise
            pause = min(2 * pause, LONGEST_PAUSE_S)
            say(f"{error} Next try in {pause:.0f} s.")
        else:
            pause = poll_s
            if carried or removed:
                say(f"{carried:,} documents carried, {removed:,} taken out.")
        time.sleep(pause)
