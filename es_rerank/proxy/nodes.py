"""`GET /_nodes` with our address in place of the nodes', so that clients that sniff stay with us.

A client that sniffs asks one node for all nodes' addresses and then speaks to these. Behind a proxy
it would leave at its first look around.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from es_rerank.proxy.answer import (
    Header,
    Scope,
    Send,
    compress,
    find_header,
    send_answer,
)
from es_rerank.proxy.relay import request_target, send_upstream_error
from es_rerank.proxy.upstream import AnswerTooLargeError, Upstream, UpstreamError

NODES_PATH = re.compile(rb"^/_nodes(?:/(?!(?:.*/)?(?:stats|hot_threads|usage)(?:/|$)).*)?$")
MAX_BYTES = 50_000_000
ADDRESSES = ("publish_address", "bound_address")
Raws = dict[str, msgspec.Raw]


async def answer_nodes(
    scope: Scope, send: Send, upstream: Upstream, public_address: str | None
) -> str:
    """Answer the request for the nodes. Returns the outcome."""
    headers: list[Header] = scope["headers"]
    own = [(k, v) for k, v in headers if k.lower() not in {b"accept-encoding", b"content-length"}]
    try:
        answer = await upstream.ask("GET", request_target(scope), own, None, MAX_BYTES)
    except UpstreamError as error:
        await send_upstream_error(send, upstream, error)
        return "error"
    except AnswerTooLargeError:
        too_large = UpstreamError(f"the answer is above {MAX_BYTES} bytes: ask for /_nodes/http")
        await send_upstream_error(send, upstream, too_large)
        return "error"
    address = public_address or as_address(find_header(headers, b"host").decode("latin-1"))
    body = rewrite_nodes(answer.body, address) if answer.status == 200 and address else answer.body
    written, coding = compress(body, find_header(headers, b"accept-encoding"))
    kept: Iterable[Header] = [h for h in answer.headers if h[0].lower() != b"content-length"]
    await send_answer(send, answer.status, written, [*kept, *coding])
    return "ok" if answer.status < 500 else "error"


def as_address(host: str) -> str:
    """The value of Host with a port, as a node's address has one."""
    if not host or re.search(r":\d+$", host):
        return host
    return f"{host}:80"


def rewrite_nodes(body: bytes, address: str) -> bytes:
    """The nodes' HTTP addresses replaced by `address`; every other value keeps its bytes.

    What is no answer about nodes comes back as it is.
    """
    try:
        whole = msgspec.json.decode(body, type=Raws)
        nodes = msgspec.json.decode(whole["nodes"], type=dict[str, Raws])
        for node in nodes.values():
            if "http" in node:
                http = msgspec.json.decode(node["http"], type=Raws)
                for key in ADDRESSES:
                    if key in http:
                        one = key == "publish_address"
                        http[key] = msgspec.Raw(msgspec.json.encode(address if one else [address]))
                node["http"] = msgspec.Raw(msgspec.json.encode(http))
    except (msgspec.DecodeError, KeyError):
        return body
    whole["nodes"] = msgspec.Raw(msgspec.json.encode(nodes))
    return msgspec.json.encode(whole)
