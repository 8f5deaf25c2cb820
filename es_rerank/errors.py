"""Every error that reaches a user, with the exit code of the command line.

    EsRerankError            1  something failed
    ├── ConfigError          2  a setting, flag or file is wrong; the text says how to mend it
    │   └── RequestError     -  a request's own `ext.es_rerank` block is wrong: answered with 400
    ├── DataError            1  a file of data is missing or malformed
    ├── EngineError          1  a local engine could not be fetched, booted or stopped
    ├── ModelError           1  a model could not be loaded or run
    ├── PartialError         3  the work was finished, but some documents failed
    ├── ClusterError         4  the cluster cannot be reached, or refuses us
    └── QualityError         5  a quality gate was not met

A search never breaks on any of these: the proxy answers with the engine's own bytes and names the
reason in a header.
"""

from __future__ import annotations


class EsRerankError(Exception):
    """Something failed; the message says what, and how to mend it."""

    exit_code = 1


class ConfigError(EsRerankError):
    """A setting, a flag or a configuration file is wrong."""

    exit_code = 2


class RequestError(ConfigError):
    """The request's `ext.es_rerank` block is wrong, or one of another product that is read here.

    kind: the error's type as the engine names it.
    """

    def __init__(self, message: str, kind: str = "parsing_exception") -> None:
        super().__init__(message)
        self.kind = kind


class DataError(EsRerankError):
    """A file of data is missing or malformed."""


class EngineError(EsRerankError):
    """A local engine could not be fetched, booted or stopped."""


class ModelError(EsRerankError):
    """A model could not be loaded or run."""


class PartialError(EsRerankError):
    """The work was finished, but some documents failed."""

    exit_code = 3


class ClusterError(EsRerankError):
    """The cluster cannot be reached, or refuses us.

    status: the HTTP status, None where no answer came. kind: the error's type as the engine names
    it, where it does.
    """

    exit_code = 4

    def __init__(self, message: str, status: int | None = None, kind: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class QualityError(EsRerankError):
    """A quality gate was not met."""

    exit_code = 5
