"""The file of documents that failed: a line of JSON each, which `--retry-failed` reads again."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson

from es_rerank.cluster.sink import Failure
from es_rerank.errors import ConfigError

SHOWN_FAILURES = 5


class FailureLog:
    """Every failed document as a line of JSON, in a file that is made with the first."""

    def __init__(self) -> None:
        self.first: list[Failure] = []
        self.count = 0
        self.path = Path("reindex-failures.jsonl")
        self._stack = ExitStack()
        self._file: Any = None

    def __enter__(self) -> FailureLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def name_after(self, index: str) -> None:
        """Name the file after the index that refuses."""
        self.path = Path(f"{index}-failures.jsonl")

    def add(self, failure: Failure) -> None:
        """Write one failure; those of earlier runs on the same index stay before it."""
        if self._file is None:
            self._file = self._stack.enter_context(self.path.open("ab"))
        self.count += 1
        if len(self.first) < SHOWN_FAILURES:
            self.first.append(failure)
        self._file.write(orjson.dumps(failure, option=orjson.OPT_APPEND_NEWLINE))
        self._file.flush()


def read_failed(path: Path) -> list[tuple[str, str | None]]:
    """The ids and routings in such a file, each once. Raises ConfigError when it is none."""
    found: dict[tuple[str, str | None], None] = {}
    number = 0
    try:
        for line in path.read_bytes().splitlines():
            number += 1
            entry = orjson.loads(line)
            if entry.get("type") != "unreadable_row":
                found[str(entry["id"]), entry.get("routing")] = None
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}") from None
    except (OSError, orjson.JSONDecodeError, AttributeError, KeyError) as error:
        raise ConfigError(
            f"{path}, line {number}: that is no failed document as reindex writes it ({error})"
        ) from None
    return list(found)
