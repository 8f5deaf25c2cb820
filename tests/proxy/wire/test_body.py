"""Bodies: any cut into pieces gives the same bytes, and what is no chunk is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.proxy.wire.body import ChunkedBody, LengthBody
from es_rerank.proxy.wire.head import RefusedError

CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
EXTENSIONS = st.sampled_from([b"", b";a=b", b';a="b c"', b"; x"])
TRAILERS = st.sampled_from([b"", b"X-Sum: 1\r\n", b"A: 1\r\nB:\r\n"])


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    stops = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    return [data[a:b] for a, b in zip([0, *stops], stops, strict=False)]


def read(body: ChunkedBody | LengthBody, parts: list[bytes]) -> tuple[bytes, bytes]:
    """All of the body, and what came after it."""
    whole = rest = b""
    for part in parts:
        if body.whole:
            rest += part
            continue
        got, rest = body.feed(part)
        whole += got
    return whole, rest


@given(CHUNKS, EXTENSIONS, TRAILERS, st.binary(max_size=30), st.lists(st.integers(0, 400)))
def test_chunks_cut_anyhow_are_the_same(
    chunks: list[bytes], extension: bytes, trailer: bytes, after: bytes, cuts: list[int]
) -> None:
    written = b"".join(b"%x%b\r\n%b\r\n" % (len(c), extension, c) for c in chunks)
    written += b"0" + extension + b"\r\n" + trailer + b"\r\n"
    body = ChunkedBody()
    assert read(body, pieces(written + after, cuts)) == (b"".join(chunks), after)
    assert body.whole


@given(st.binary(max_size=60), st.binary(max_size=30), st.lists(st.integers(0, 100)))
def test_lengths_cut_anyhow_are_the_same(data: bytes, after: bytes, cuts: list[int]) -> None:
    body = LengthBody(len(data))
    assert read(body, pieces(data + after, cuts)) == (data, after)
    assert body.whole


@pytest.mark.parametrize(
    "written",
    [
        b"g\r\n",
        b"0x5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"-1\r\n",
        b"5 \r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"\r\n",
        b";a\r\n",
        b"5\nhello\r\n",
        b"5\r\nhello!\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n",
        b"5;a\0\r\nhello\r\n",
        b"1" * 16 + b"\r\n",
        b"5;" + b"a" * 600 + b"\r\n",
        b"5;" + b"a" * 600,
        b"0\r\nX : 1\r\n\r\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\nX: a\rb\r\n\r\n",
        b"0\r\nX: 1\n\r\n",
        b"0\r\n" + b"X: 1\r\n" * 5000 + b"\r\n",
    ],
)
def test_what_is_no_chunk_is_refused(written: bytes) -> None:
    for size in (len(written), 1):
        parts = [written[i : i + size] for i in range(0, len(written), size)]
        with pytest.raises(RefusedError) as caught:
            read(ChunkedBody(), parts)
        assert caught.value.status in {400, 431}
