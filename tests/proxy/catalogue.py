"""A small, untidy catalogue in a real engine, and the engine's answers to compare with."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import msgspec
import numpy as np
import urllib3

from es_rerank.ranking.vectors import encode_codes

WORDS = [
    "red",
    "blue",
    "black",
    "trail",
    "road",
    "running",
    "walking",
    "shoes",
    "boots",
    "sandals",
    "jacket",
    "waterproof",
    "light",
    "warm",
    "leather",
    "wool",
    "cotton",
    "kids",
    "mens",
    "womens",
    "classic",
    "sport",
    "winter",
    "summer",
]
BRANDS = ("Acme", "Birch", "Cedar", "Dune", "Elm")
MAPPING: dict[str, Any] = {
    "properties": {
        "title": {"type": "text"},
        "description": {"type": "text"},
        "brand": {"type": "keyword"},
        "category": {"type": "keyword"},
        "price": {"type": "double"},
        "serial": {"type": "keyword", "index": False},
        "note": {"type": "object", "enabled": False},
        "variants": {"type": "nested", "properties": {"colour": {"type": "keyword"}}},
    }
}
ODD_NUMBERS = ("1.10", "1.0E-5", "123456789012345678901234567890", "-0.0", "1e3", "7")


def request(url: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Send JSON, or bytes as they are. Returns urllib3's response."""
    sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    kind = {"content-type": "application/json"} if sent is not None else {}
    return urllib3.request(
        method, url + path, body=sent, headers={**kind, **headers}, timeout=60, retries=False
    )


def make_sources(count: int, seed: int = 7) -> list[bytes]:
    """Raw sources: some without title, brand or price, with odd numbers, spaces and escapes."""
    rng = random.Random(seed)
    sources = []
    for i in range(count):
        words = rng.choices(WORDS, k=rng.randint(2, 7))
        members = [f'"serial" : {rng.choice(ODD_NUMBERS)}']
        if rng.random() < 0.85:
            members.append(f'"title":{json.dumps(" ".join(words))}')
        if rng.random() < 0.7:
            text = " ".join(rng.choices(WORDS, k=15)) + rng.choice(["", " é", " \\u00e9", " \\/"])
            members.append(f'"description": "{text}"')
        if rng.random() < 0.8:
            brands = rng.sample(BRANDS, rng.choice([1, 1, 1, 2]))
            members.append(f'"brand":{json.dumps(brands if len(brands) > 1 else brands[0])}')
        if rng.random() < 0.8:
            members.append(f'"price":{rng.randint(5, 400)}.{rng.randint(0, 9)}0')
        members.append(f'"category":["{rng.choice(WORDS)}"]')
        members.append(f'"variants":[{{"colour":"{rng.choice(WORDS[:3])}"}}]')
        members.append(f'"note":{{"n":{i}.0, "list":[ 1, 2.50 ]}}')
        rng.shuffle(members)
        sources.append(("{" + ", ".join(members) + "}").encode())
    return sources


def load(url: str, index: str, sources: list[bytes], mapping: Any = None, **settings: Any) -> None:
    """Create the index and put the sources in it, ids counting from 0; visible at once."""
    made = request(
        url,
        "PUT",
        f"/{index}",
        {
            "settings": {"number_of_shards": 1, "number_of_replicas": 0, **settings},
            "mappings": mapping or MAPPING,
        },
    )
    assert made.status == 200, made.data
    lines = [
        b'{"index":{"_id":"%d"}}\n%s\n' % (i, source.replace(b"\n", b" "))
        for i, source in enumerate(sources)
    ]
    done = request(url, "POST", f"/{index}/_bulk?refresh=true", b"".join(lines))
    assert done.status == 200, done.data
    assert not done.json()["errors"], done.data[:500]


def with_codes(sources: list[bytes], vectors: np.ndarray[Any, np.dtype[np.float32]]) -> list[bytes]:
    """The sources with their vectors' codes under `es_rerank.code`."""
    return [
        source[:-1] + b',"es_rerank":{"code":"' + code.encode() + b'"}}'
        for source, code in zip(sources, encode_codes(vectors), strict=True)
    ]


def enriched_mapping(model: str) -> dict[str, Any]:
    """The mapping of an index that was enriched with vectors of that model."""
    return {
        "_meta": {
            "es_rerank": {
                "text_fields": ["title", "description"],
                "attribute_fields": ["brand"],
                "model": model,
            }
        },
        "properties": {
            **MAPPING["properties"],
            "es_rerank": {"properties": {"code": {"type": "binary", "doc_values": True}}},
        },
    }


def raw_hits(body: bytes) -> list[dict[str, bytes]]:
    """Each hit's members in their own bytes."""
    whole = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    inner = msgspec.json.decode(whole["hits"], type=dict[str, msgspec.Raw])
    hits = msgspec.json.decode(inner["hits"], type=list[dict[str, msgspec.Raw]])
    return [{name: bytes(raw) for name, raw in hit.items()} for hit in hits]


def without_took(body: bytes) -> bytes:
    """An answer but for the time it took."""
    return re.sub(rb'("?took"?\s*:\s*)\d+', rb"\g<1>0", body)
