"""A request's head, read so strictly that no two readers can disagree about it (RFC 9112)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from es_rerank.proxy.answer import Header
from es_rerank.proxy.wire.limits import Limits

CONTROLS = bytes(c for c in (*range(0x20), 0x7F) if c != 0x09)
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
TARGET = re.compile(rb"[\x21\x22\x24-\x7e]+")  # visible ASCII but for `#`
HOST = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+,;=:\[\]]*")
ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)
VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
METHODS = frozenset({b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH"})
LENGTH_DIGITS = 18
NAMES_KNOWN = 2048
FIELDS_KNOWN = 256
FIELDS_BYTES = 2048

# RFC 9110, 7.6.1: these belong to one connection and are not passed on; nor are those that speak
# of the message's framing and its addressee, which are written anew.
PLAIN, DROPPED, HOST_NAME, LENGTH, CODING, CONNECTION, EXPECT = range(7)
KINDS = {
    b"keep-alive": DROPPED,
    b"proxy-authenticate": DROPPED,
    b"proxy-authorization": DROPPED,
    b"proxy-connection": DROPPED,
    b"te": DROPPED,
    b"trailer": DROPPED,
    b"upgrade": DROPPED,
    b"host": HOST_NAME,
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"connection": CONNECTION,
    b"expect": EXPECT,
}
OF_CONNECTION = frozenset({b"close", b"keep-alive", b"upgrade", b"te", b""})


class RefusedError(Exception):
    """A request that is not answered but with an error, before anybody has seen it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(slots=True, eq=False)
class Head:
    """A request's head.

    target: path and query, byte for byte; an absolute-form target comes down to them. headers:
    names in lower case, values without the white space around them. passed: the lines that may be
    passed on, as they came, each with its line break. length: of the body, None where it is chunked
    or there is none.
    """

    method: bytes
    target: bytes
    minor: int
    headers: tuple[Header, ...]
    passed: bytes
    length: int | None
    chunked: bool
    keep_alive: bool
    expects: bool


@dataclass(frozen=True, slots=True)
class Fields:
    """What a head's header lines say, whatever its request line is."""

    headers: tuple[Header, ...]
    passed: bytes
    length: int | None
    chunked: bool
    hosts: int
    options: frozenset[bytes]
    expects: bool


_names: dict[bytes, tuple[bytes, int]] = {}
_fields: dict[bytes, Fields] = {}


def read_head(raw: bytes, limits: Limits) -> Head:
    """Read a head, from its first byte to the empty line. Raises RefusedError."""
    stop = raw.find(b"\r\n")
    method, target, minor = read_line(raw[:stop], limits)
    lines = raw[stop + 2 : -2]
    # A client's requests differ in little but their first line.
    fields = _fields.get(lines)
    if fields is None:
        fields = read_fields(lines)
        if len(lines) <= FIELDS_BYTES:
            if len(_fields) >= FIELDS_KNOWN:
                _fields.clear()
            _fields[lines] = fields
    if len(fields.headers) > limits.headers:
        raise RefusedError(431, f"the request has more than {limits.headers} header lines")
    if minor == 0 and fields.chunked:
        raise RefusedError(400, "Transfer-Encoding does not go with HTTP/1.0")
    if fields.hosts > 1 or (fields.hosts == 0 and minor > 0):
        raise RefusedError(400, "the request needs one Host header")
    options = fields.options
    return Head(
        method,
        target,
        minor,
        fields.headers,
        fields.passed,
        fields.length,
        fields.chunked,
        (minor > 0 or b"keep-alive" in options) and b"close" not in options,
        fields.expects and minor > 0 and (fields.chunked or bool(fields.length)),
    )


def read_fields(raw: bytes) -> Fields:
    """Read header lines, each with its line break. Raises RefusedError."""
    lines = raw.split(b"\r\n")[:-1]
    if len(raw) - len(raw.translate(None, CONTROLS)) != 2 * len(lines):
        raise RefusedError(400, "the head holds a control character or a bare line break")
    headers: list[Header] = []
    passed: list[bytes] = []
    length: int | None = None
    chunked = expects = False
    hosts = 0
    options: set[bytes] = set()
    for line in lines:
        name, colon, value = line.partition(b":")
        known = _names.get(name) if colon else None
        lower, kind = known if known is not None else learn_name(line)
        value = value.strip(b" \t")
        headers.append((lower, value))
        if kind == PLAIN:
            passed.append(line)
        elif kind == HOST_NAME:
            hosts += 1
            if HOST.fullmatch(value) is None:
                raise RefusedError(400, "Host holds what no host name can")
        elif kind == LENGTH:
            if length is not None:
                raise RefusedError(400, "there is more than one Content-Length")
            if not value.isdigit() or len(value) > LENGTH_DIGITS:
                raise RefusedError(400, "Content-Length is no number of bytes")
            length = int(value)
        elif kind == CODING:
            if chunked or value.lower() != b"chunked":
                raise RefusedError(400, "Transfer-Encoding can be chunked and nothing else")
            chunked = True
        elif kind == CONNECTION:
            options.update(part.strip(b" \t").lower() for part in value.split(b","))
        elif kind == EXPECT:
            if value.lower() != b"100-continue":
                raise RefusedError(417, "Expect can be 100-continue and nothing else")
            expects = True  # RFC 9110, 10.1.1
    if chunked and length is not None:
        raise RefusedError(400, "Transfer-Encoding and Content-Length do not go together")
    if options - OF_CONNECTION:
        passed = [line for line in passed if _lower_name(line) not in options]
    return Fields(
        tuple(headers),
        b"\r\n".join([*passed, b""]) if passed else b"",
        length,
        chunked,
        hosts,
        frozenset(options),
        expects,
    )


def read_line(line: bytes, limits: Limits) -> tuple[bytes, bytes, int]:
    """Read a request line. Returns method, target in origin-form (or `*`), HTTP/1's minor version.

    RFC 9112, 3.2: absolute-form must be understood; authority-form belongs to CONNECT, which a
    reverse proxy does not take.
    """
    parts = line.split(b" ")
    if len(parts) != 3:
        raise RefusedError(400, "the request line is not METHOD SP target SP HTTP/1.1")
    method, target, version = parts
    if len(line) > limits.line_bytes:
        raise RefusedError(414, f"the request line is above {limits.line_bytes} bytes")
    if method not in METHODS and TOKEN.fullmatch(method) is None:
        raise RefusedError(400, "the method is no token")
    if version not in {b"HTTP/1.1", b"HTTP/1.0"}:
        if VERSION.fullmatch(version) is None:
            raise RefusedError(400, "the request is no HTTP")
        raise RefusedError(505, "HTTP/1.1 and HTTP/1.0 are spoken here")
    if method == b"CONNECT":
        raise RefusedError(501, "CONNECT is not taken: this is no forward proxy")
    if TARGET.fullmatch(target) is None:
        raise RefusedError(
            400, "the target holds a fragment or bare bytes beyond ASCII: percent-encode them"
        )
    if target[:1] != b"/" and not (target == b"*" and method == b"OPTIONS"):
        target = from_absolute(target, method)
    return method, target, 1 if version == b"HTTP/1.1" else 0


def from_absolute(target: bytes, method: bytes) -> bytes:
    """An absolute-form target in origin-form (RFC 9112, 3.2.2 and 3.2.4)."""
    absolute = ABSOLUTE.fullmatch(target)
    if absolute is None or not absolute[1] or HOST.fullmatch(absolute[1]) is None:
        raise RefusedError(400, "the target is neither a path nor an http address")
    rest: bytes = absolute[2]
    if not rest and method == b"OPTIONS":
        return b"*"
    return rest if rest[:1] == b"/" else b"/" + rest


def learn_name(line: bytes) -> tuple[bytes, int]:
    """A header's name in lower case, and its kind. Raises RefusedError where it is no token."""
    name, colon, _ = line.partition(b":")
    if not colon or TOKEN.fullmatch(name) is None:
        raise RefusedError(400, "a header line is not a name, a colon at once, and a value")
    lower = name.lower()
    known = (lower, KINDS.get(lower, PLAIN))
    if len(_names) < NAMES_KNOWN and len(name) <= 64:
        _names[name] = known
    return known


def _lower_name(line: bytes) -> bytes:
    return line.partition(b":")[0].lower()


def check_beginning(begun: bytes, limits: Limits) -> None:
    """Refuse what no end can make a head any more; `begun` has no empty line yet."""
    if begun.count(b"\n") != begun.count(b"\r\n"):
        raise RefusedError(400, "the head holds a bare line break")
    line, broken, _ = begun.partition(b"\r\n")
    method = line.partition(b" ")[0]
    if method.rstrip(b"\r") and TOKEN.fullmatch(method.rstrip(b"\r")) is None:
        raise RefusedError(400, "the request is no HTTP")
    if broken:
        read_line(line, limits)
    elif len(line) > limits.line_bytes:
        status = 414 if b" " in line else 400
        raise RefusedError(status, f"the request line is above {limits.line_bytes} bytes")
    if len(begun) > limits.head_bytes:
        raise RefusedError(431, f"the request's head is above {limits.head_bytes} bytes")
