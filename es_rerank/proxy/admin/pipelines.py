"""Named pipelines over HTTP: `PUT`, `GET` and `DELETE`, as OpenSearch has search pipelines."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import msgspec

from es_rerank.errors import RequestError
from es_rerank.proxy.admin.door import Visitor
from es_rerank.proxy.answer import (
    Header,
    Receive,
    Scope,
    Send,
    send_answer,
    send_error,
    send_json,
)
from es_rerank.proxy.pipeline_store import ConflictError, Stored, StoreError
from es_rerank.proxy.relay import read_body, send_upstream_error
from es_rerank.proxy.search.options import read_pipeline
from es_rerank.proxy.search.pipelines import PipelineCatalog
from es_rerank.proxy.upstream import AnswerTooLargeError, Upstream, UpstreamError, principal

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
MAX_BODY_BYTES = 65_536
MAX_PIPELINES = 500
UNREADABLE = "what the cluster keeps cannot be read as pipelines: see [pipelines] index"
PASSED_ON = (b"content-type", b"www-authenticate", b"x-elastic-product", b"warning")


class RefusedError(Exception):
    """A request that is not carried out, with the answer that says why."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.kind, self.reason = status, kind, reason


class PipelinePages:
    """Answers below `/_es_rerank/pipeline`."""

    def __init__(self, upstream: Upstream, catalog: PipelineCatalog) -> None:
        self._upstream = upstream
        self._catalog = catalog

    async def answer(
        self, scope: Scope, receive: Receive, send: Send, name: str, visitor: Visitor
    ) -> str:
        """Answer one request for the pipeline `name`, empty for all. Returns the outcome.

        The cluster is asked with the caller's own credentials, so that its rules hold; those who
        showed the token and no credentials borrow the proxy's.
        """
        credentials = list(principal(visitor.headers))
        if not credentials and visitor.trusted:
            credentials = self._upstream.own_credentials()
        try:
            value = await self._carry_out(scope, receive, name, credentials)
        except RefusedError as refused:
            await self._send_refusal(send, refused.status, refused.kind, refused.reason)
        except RequestError as error:
            await self._send_refusal(send, 400, "parse_exception", str(error))
        except ConflictError as error:
            await self._send_refusal(send, 409, "version_conflict_engine_exception", str(error))
        except StoreError as error:
            await self._send_clusters_own(send, error)
        except AnswerTooLargeError:
            await self._send_refusal(send, 500, "unreadable_pipelines_exception", UNREADABLE)
        except UpstreamError as error:
            await send_upstream_error(send, self._upstream, error)
        else:
            await send_json(send, 200, value)
            return "ok"
        return "error"

    async def _carry_out(
        self, scope: Scope, receive: Receive, name: str, credentials: list[Header]
    ) -> dict[str, Any]:
        method = scope["method"]
        if method in {"GET", "HEAD"}:
            stored = await self._catalog.store.read(credentials)
            return {name: find(stored, name)} if name else dict(stored.pipelines)
        if not name or method not in {"PUT", "DELETE"}:
            raise RefusedError(405, "method_not_allowed", "it takes GET, PUT /{id}, DELETE /{id}")
        expected = read_expected(scope["query_string"])
        if method == "DELETE":
            await self._change(lambda stored: without(stored, name, expected), credentials)
            return {"acknowledged": True}
        if not NAME.fullmatch(name):
            raise RefusedError(
                400,
                "invalid_pipeline_name_exception",
                f"[{name}] is no pipeline's name: it has lower-case letters, digits and ._- , "
                "begins with a letter or digit, and has at most 128 characters",
            )
        body = await read_pipeline_body(receive)
        before: list[Stored] = []

        def put(stored: Stored) -> Stored:
            before[:] = [stored]
            return with_pipeline(stored, name, body, expected)

        after = await self._change(put, credentials)
        known = before[0].pipelines.get(name)
        result = "created" if known is None else "updated"
        return {
            "acknowledged": True,
            "version": after.pipelines[name]["version"],
            "result": "noop" if after is before[0] else result,
        }

    async def _change(self, edit: Callable[[Stored], Stored], credentials: list[Header]) -> Stored:
        stored = await self._catalog.store.change(edit, credentials)
        await self._catalog.refresh()  # here at once, elsewhere within seconds
        return stored

    async def _send_refusal(self, send: Send, status: int, kind: str, reason: str) -> None:
        await send_error(send, status, kind, reason, self._upstream.product)

    async def _send_clusters_own(self, send: Send, error: StoreError) -> None:
        """Pass on what the cluster said, such as that the caller may not."""
        answer = error.answer
        if answer.status < 400:
            await self._send_refusal(send, 500, "unreadable_pipelines_exception", UNREADABLE)
            return
        headers = [(key, value) for key, value in answer.headers if key.lower() in PASSED_ON]
        await send_answer(send, answer.status, answer.body, headers)


def find(stored: Stored, name: str) -> Mapping[str, Any]:
    """One pipeline. Raises RefusedError that names the nearest."""
    if name not in stored.pipelines:
        near = difflib.get_close_matches(name, stored.pipelines, n=1)
        hint = f": did you mean [{near[0]}]?" if near else ""
        raise RefusedError(
            404, "resource_not_found_exception", f"there is no pipeline [{name}]{hint}"
        )
    return stored.pipelines[name]


def read_expected(query: bytes) -> int | None:
    """`if_version`: the version that a change is meant for, 0 where there must be none yet."""
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("if_version")
    if given is None:
        return None
    if not re.fullmatch(r"[0-9]{1,16}", given[-1]):
        raise RefusedError(
            400, "illegal_argument_exception", f"[if_version] is no version: [{given[-1]}]"
        )
    return int(given[-1])


async def read_pipeline_body(receive: Receive) -> dict[str, Any]:
    """The body, checked; null counts as not given. Raises RefusedError or RequestError."""
    raw, rest = await read_body(receive, MAX_BODY_BYTES)
    if rest is not None:
        reason = f"a pipeline has at most {MAX_BODY_BYTES} bytes"
        raise RefusedError(413, "content_too_long_exception", reason)
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(400, "parse_exception", f"the body is no JSON: {error}") from None
    read_pipeline(body)
    return {key: value for key, value in body.items() if value is not None}


def check_expected(version: int, expected: int | None) -> None:
    """Raises RefusedError when the change was meant for another version."""
    if expected is not None and expected != version:
        raise conflict(f"version is {version}, and if_version asks for {expected}")


def conflict(reason: str) -> RefusedError:
    return RefusedError(409, "version_conflict_engine_exception", reason)


def with_pipeline(
    stored: Stored, name: str, body: Mapping[str, Any], expected: int | None
) -> Stored:
    """What is stored with the pipeline put in; itself where that changes nothing.

    The version grows by one; a `version` in the body is taken instead, and must be higher than
    any that the name had.
    """
    known = stored.pipelines.get(name)
    version = 0 if known is None else int(known["version"])
    check_expected(version, expected)
    wanted = body.get("version")
    settings = {key: value for key, value in body.items() if key != "version"}
    if (
        known is not None
        and wanted in {None, version}
        and known == {**settings, "version": version}
    ):
        return stored
    floor = stored.floor if known is None else version
    if wanted is not None and wanted <= floor:
        raise conflict(
            f"the body's version {wanted} is not above {floor}, which was there before: leave it "
            f"out, or give {floor + 1}"
        )
    if known is None and len(stored.pipelines) >= MAX_PIPELINES:
        raise RefusedError(
            400, "illegal_argument_exception", f"there are {MAX_PIPELINES} pipelines: delete some"
        )
    put = {**settings, "version": wanted or floor + 1}
    return replace(stored, pipelines={**stored.pipelines, name: put})


def without(stored: Stored, name: str, expected: int | None) -> Stored:
    """What is stored without the pipeline. Raises RefusedError where there is none."""
    version = int(find(stored, name)["version"])
    check_expected(version, expected)
    left = {key: body for key, body in stored.pipelines.items() if key != name}
    return replace(stored, floor=max(stored.floor, version), pipelines=left)
