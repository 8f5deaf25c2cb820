"""Where es-rerank keeps what it has fetched or built and can fetch or build again."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

VARIABLE = "ES_RERANK_CACHE"


def cache_folder() -> Path:
    """The cache folder: `ES_RERANK_CACHE`, else the user's own; it need not exist yet."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser().absolute() if named else user_cache_path("es-rerank")
