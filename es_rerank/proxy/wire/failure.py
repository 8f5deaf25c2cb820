"""The ways in which the cluster can fail to answer.

    UpstreamError            what the client gets
    ├── UnreachableError     502  no connection could be made, or it ended before an answer came
    ├── BrokenAnswerError    502  the answer is cut, or no HTTP/1.1
    ├── NoNodeError          503  every node is out
    └── TimedOutError        504  no connection, first byte or next byte in time

None of them is for a status that the cluster itself sent: that goes back as it is.
"""

from __future__ import annotations


class UpstreamError(Exception):
    """The cluster did not answer. The message says why, without credentials."""

    status = 502
    kind = "upstream_exception"


class UnreachableError(UpstreamError):
    """No connection could be made, or it was closed before a byte of the answer came."""

    kind = "upstream_unreachable_exception"


class BrokenAnswerError(UpstreamError):
    """The answer was cut in the middle, or breaks the rules of RFC 9112."""

    kind = "upstream_broken_answer_exception"


class NoNodeError(UpstreamError):
    """Every node of the cluster is out."""

    status = 503
    kind = "no_healthy_node_exception"


class TimedOutError(UpstreamError):
    """The cluster was silent for too long."""

    status = 504
    kind = "upstream_timeout_exception"
