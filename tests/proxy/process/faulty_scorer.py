"""A plugin whose scorer does what a file says, each time it is asked."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.ranking.candidate import Candidates

ENTRY_POINTS = "[es_rerank.scorers]\nfaulty = tests.proxy.process.faulty_scorer:make\n"


def install(folder: Path) -> None:
    """Install the plugin into a folder that is on the path."""
    metadata = folder / "faulty-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)


def make(options: Mapping[str, Any]) -> FaultyScorer:
    return FaultyScorer(Path(options["file"]))


class FaultyScorer:
    """Turns the window round, unless the file says what else to do."""

    name = "faulty"

    def __init__(self, file: Path) -> None:
        self._file = file

    def unknown_share(self, query: str) -> float:
        return 0.0

    def score(self, query: str, candidates: Candidates) -> NDArray[np.float64]:
        n = len(candidates)
        good: NDArray[np.float64] = np.arange(n, dtype=np.float64)
        match self._file.read_text():
            case "raises":
                raise KeyError("a fault")
            case "memory":
                raise MemoryError
            case "exits":
                raise SystemExit(1)
            case "nan":
                return np.full(n, np.nan)
            case "inf":
                return np.where(good == 3, np.inf, good)
            case "short":
                return good[:-1]
            case "one":
                return good[:1]
            case "none":
                return None  # type: ignore[return-value]
            case "hangs":
                time.sleep(600)
            case "spins":
                while self._file.read_text() == "spins":
                    pass
            case "holds":  # the interpreter's lock, for a while each time
                library = ctypes.PyDLL(None)
                while self._file.read_text() == "holds":
                    library.usleep(30_000)
        return good
