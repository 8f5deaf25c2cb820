"""Where es-rerank keeps what it has fetched or built and can fetch or build again."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from es_rerank.errors import EngineError

VARIABLE = "ES_RERANK_CACHE"


def cache_folder() -> Path:
    """The cache folder: `ES_RERANK_CACHE`, else the user's own; it need not exist yet."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser().absolute() if named else user_cache_path("es-rerank")


def make_folder(folder: Path) -> None:
    """Make a folder of the cache, and those above it. Raises EngineError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".lock").touch()
    except OSError as error:
        raise EngineError(
            f"{folder} cannot be made or written to ({error.strerror}): name another cache folder "
            f"with {VARIABLE}"
        ) from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time change what lies in `folder`, which is made if need be.

    The kernel frees the lock of a process that died.
    """
    make_folder(folder)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
