"""The shipped files: made in memory, written, compared."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from es_rerank.demo.catalogue.behaviour import describe_propensities, simulate
from es_rerank.demo.catalogue.judgments import judge, render_intent_qrels, render_qrels
from es_rerank.demo.catalogue.products import make_products
from es_rerank.demo.catalogue.queries import make_logged_queries, make_queries
from es_rerank.demo.catalogue.reviews import make_reviews
from es_rerank.demo.catalogue.users import make_users
from es_rerank.demo.catalogue.vocabulary import read_vocabulary

DATA = Path(__file__).parent / "data"
SEED = 20260901


def make_files(seed: int = SEED) -> dict[str, bytes]:
    """File name -> content, uncompressed even where the name ends in `.gz`."""
    vocabulary = read_vocabulary()
    products = make_products(vocabulary, seed)
    reviews = make_reviews(products, vocabulary, seed)
    queries = make_queries(vocabulary)
    judged = [(query.id, *judge(query, products)) for query in queries]
    users = make_users(vocabulary, seed)
    logged = [*queries, *make_logged_queries(vocabulary)]
    ubi_queries, ubi_events = simulate(users, logged, products, seed)
    return {
        "products.jsonl.gz": _lines(p.document for p in products),
        "reviews.jsonl.gz": _lines(reviews),
        "queries.jsonl": _lines(q.document() for q in queries),
        "qrels.txt": render_qrels([(q, grades) for q, grades, _ in judged]).encode(),
        "intent_qrels.txt": render_intent_qrels([(q, by) for q, _, by in judged]).encode(),
        "users.jsonl": _lines(u.document() for u in users),
        "ubi_queries.jsonl.gz": _lines(ubi_queries),
        "ubi_events.jsonl.gz": _lines(ubi_events),
        "propensities.json": (json.dumps(describe_propensities(seed), indent=2) + "\n").encode(),
    }


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write the files; compressed ones carry no time: the same seed gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        packed = gzip.compress(content, 9, mtime=0) if name.endswith(".gz") else content
        (folder / name).write_bytes(packed)


def read_file(name: str, folder: Path = DATA) -> bytes:
    """A file's content, decompressed."""
    content = (folder / name).read_bytes()
    return gzip.decompress(content) if name.endswith(".gz") else content


def differing(files: Mapping[str, bytes], folder: Path) -> list[str]:
    """The names whose content in the folder is missing or not the same."""
    return [
        name
        for name, content in files.items()
        if not (folder / name).is_file() or read_file(name, folder) != content
    ]


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(
        json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows
    ).encode()
