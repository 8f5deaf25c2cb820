"""How fast `es-rerank reindex` is: a plain copy, with vectors, and run again after few changes.

    python -m benchmarks.throughput.reindex --data-dir FOLDER [--synthetic 500000] [--url URL]

A copy is timed from the start of its process to its end, beside elasticdump (fetched with npm) and
the engine's own `_reindex` into an index of the same mapping; the three take turns in an order that
changes, and what counts is the median of each. Memory is the most that our process ever held.

With vectors, the rival is the bare encoder on the same texts, both whole processes, the encoder
with one thread in both. Run again, one document in a hundred has another title; what counts is the
share of the first run's time. The engine and all others share the machine.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from benchmarks.form import Row, Spread, compare_row, parser, publish, run, say
from es_rerank.cluster.bulk import Action, Pace
from es_rerank.cluster.client import SearchClient, connect, quote
from es_rerank.cluster.sink import write_actions
from es_rerank.cluster.source import count_documents
from es_rerank.demo.stack import clean_environment
from es_rerank.engine.cache import cache_folder
from es_rerank.engine.node import boot
from es_rerank.errors import EsRerankError

PREFIX = "bench-reindex"
PRODUCTS = "icecat_products.jsonl"
BULK = 5000
CHANGED = 100  # one in so many
SEED = 7
POLL_S = 0.02
MEMORY_MB = 300
LEAST = {"elasticdump": 2.0, "_reindex": 0.4}
BODY: Mapping[str, Any] = {
    "settings": {"number_of_shards": 1, "number_of_replicas": 0},
    "mappings": {
        "dynamic": False,
        "properties": {
            "title": {"type": "text"},
            "brand": {"type": "keyword"},
            "description": {"type": "text"},
            "price_usd": {"type": "float"},
            "attributes": {"type": "object", "enabled": False},
        },
    },
}
ENCODE = """
import json, sys
from es_rerank.cluster.document import document_text
from es_rerank.models.embedder import load_embedder
embedder = load_embedder(device="cpu")
texts = [document_text(json.loads(line), ("title", "description")) for line in open(sys.argv[1])]
for start in range(0, len(texts), 512):
    embedder.encode(texts[start : start + 512])
"""


@dataclass(frozen=True)
class Ran:
    """A process that has ended."""

    seconds: float
    peak_mb: float
    output: bytes


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser(__doc__ or "")
    options.add_argument("--data-dir", type=Path, help=f"folder with {PRODUCTS} or .gz")
    options.add_argument("--synthetic", type=int, metavar="N", help="copy N made-up products too")
    options.add_argument("--rounds", type=int, default=5, help="times each copy is made")
    options.add_argument(
        "--documents", type=int, default=5000, help="of the products, with vectors (%(default)s)"
    )
    options.add_argument("--only", choices=("copy", "vectors"), help="one part alone")
    options.add_argument("--url", help="an engine that runs already")
    options.add_argument("--engine", choices=("opensearch", "elasticsearch"), default="opensearch")
    chosen = options.parse_args(arguments)
    if chosen.data_dir is None and chosen.synthetic is None:
        raise EsRerankError("name --data-dir FOLDER, or --synthetic N")
    rows: list[Row] = []
    with TemporaryDirectory() as place, ExitStack() as started:
        if chosen.url is None:
            node = started.enter_context(boot(chosen.engine, heap="1g"))
            chosen.url = node.url
        client = connect(chosen.url, timeout_s=300)
        started.callback(client.close)
        started.callback(remove, client)
        remove(client)
        sets = []
        if chosen.data_dir is not None:
            sets.append(("Icecat", lambda: read_products(chosen.data_dir)))
        if chosen.synthetic is not None:
            sets.append(("synthetic", lambda: make_products(chosen.synthetic)))
        for name, products in sets if chosen.only != "vectors" else ():
            rows += measure_copies(client, name, products, chosen.rounds, Path(place))
        if chosen.data_dir is not None and chosen.only != "copy":
            rows += measure_vectors(client, chosen, Path(place))
    publish(rows, chosen, f"Reindexing, {client.name}")


def measure_copies(
    client: SearchClient,
    name: str,
    products: Callable[[], Iterator[bytes]],
    rounds: int,
    place: Path,
) -> list[Row]:
    """Copy an index of these products each way, in turns."""
    source = f"{PREFIX}-{name.lower()}"
    say(f"Indexing the {name} products ...")
    count = fill(client, source, products())
    dump = find_elasticdump()
    ways: dict[str, Callable[[str], Ran]] = {
        "es-rerank": lambda target: copy(client, source, target, place)
    }
    if dump is not None:
        ways["elasticdump"] = lambda target: copy_by_dump(client, dump, source, target, place)
    if client.kind == "opensearch":  # a module that our own Elasticsearch lacks
        ways["_reindex"] = lambda target: copy_by_engine(client, source, target)
    times: dict[str, list[float]] = {way: [] for way in ways}
    peak = 0.0
    rng = random.Random(SEED)
    for number in range(-1 if rounds > 1 else 0, rounds):  # the first round warms up
        for way in rng.sample(sorted(ways), len(ways)):
            target = f"{source}-copy"
            done = ways[way](target)
            (copied,) = client.request("GET", f"/{target}*")
            client.request("POST", f"/{copied}/_refresh")
            held = count_documents(client, copied)
            if held != count:
                raise EsRerankError(f"{way} copied {held:,} of {count:,} documents")
            client.request("DELETE", f"/{copied}")
            say(f"{name}, round {number + 1} of {rounds}: {way} {done.seconds:.2f} s")
            if way == "es-rerank":
                peak = max(peak, done.peak_mb)
            if number >= 0:
                times[way].append(done.seconds)
    ours = statistics.median(times["es-rerank"])
    rows = []
    for way in [way for way in ways if way != "es-rerank"]:
        theirs = statistics.median(times[way])
        each = [their / our for their, our in zip(times[way], times["es-rerank"], strict=True)]
        rows.append(
            compare_row(
                f"copy {count:,} {name} products",
                ours=ours,
                rival=way,
                theirs=theirs,
                unit="s",
                better="lower",
                n=rounds,
                spread=Spread(min(each), max(each), "theirs / ours, all rounds"),
                gate=True,
            )
        )
        if theirs / ours < LEAST[way]:
            say(f"{way}: {theirs / ours:.2f} of ours is less than the {LEAST[way]} promised")
    rows.append(
        compare_row(
            f"memory, {count:,} {name} products",
            ours=peak,
            rival="promised",
            theirs=MEMORY_MB,
            unit="MB",
            better="lower",
            n=rounds,
            gate=True,
        )
    )
    return rows


def measure_vectors(client: SearchClient, chosen: argparse.Namespace, place: Path) -> list[Row]:
    """Enrich with vectors beside the bare encoder; then again after few changes."""
    source, alias = f"{PREFIX}-vectors", f"{PREFIX}-vectors-er"
    lines = list(read_products(chosen.data_dir))[: chosen.documents]
    count = fill(client, source, iter(lines))
    texts = place / "products.jsonl"
    texts.write_bytes(b"\n".join(lines))
    recipe = place / "recipe.toml"
    recipe.write_text('text_fields = ["title", "description"]\n[vector]\n')
    command = [sys.executable, "-m", "es_rerank", "reindex", source, alias]
    command += ["--recipe", str(recipe), "--yes", "--json", "--url", client.url]
    bare = spawn([sys.executable, "-c", ENCODE, str(texts)], place)
    say(f"the bare encoder {bare.seconds:.1f} s")
    full = spawn(command, place)
    say(f"with vectors {full.seconds:.1f} s")
    changed = range(0, count, CHANGED)
    actions = []
    for row in changed:
        product = orjson.loads(lines[row])
        product["title"] = f"{product['title']}, new"
        head = orjson.dumps({"index": {"_id": str(product["id"])}})
        actions.append(Action(head, orjson.dumps(product)))
    if write_actions(client, source, actions, Pace()):
        raise EsRerankError("the engine refused the changed products")
    again = spawn(command, place)
    answer = orjson.loads(again.output)
    say(f"again {again.seconds:.1f} s, {answer['enriched']:,} enriched")
    if (answer["enriched"], answer["held"]) != (len(changed), count):
        raise EsRerankError(f"{len(changed)} documents were changed, but the run says {answer}")
    rates = count / full.seconds, count / bare.seconds
    rate = compare_row(
        f"vectors of {count:,} products",
        ours=rates[0],
        rival="the bare encoder",
        theirs=rates[1],
        unit="documents/s",
        better="higher",
        n=1,
        gate=True,
    )
    share = compare_row(
        f"again, {len(changed):,} of {count:,} changed",
        ours=again.seconds / full.seconds,
        rival="promised",
        theirs=0.05,
        unit="of the first run",
        better="lower",
        n=1,
        gate=True,
    )
    return [rate, share]


def copy(client: SearchClient, source: str, target: str, place: Path) -> Ran:
    """Copy with es-rerank."""
    command = [sys.executable, "-m", "es_rerank", "-q", "reindex", source, target, "--copy"]
    return spawn([*command, "--yes", "--url", client.url], place)


def copy_by_dump(client: SearchClient, dump: str, source: str, target: str, place: Path) -> Ran:
    """Copy with elasticdump, a thousand documents at a time (its default is a hundred)."""
    client.request("PUT", f"/{target}", BODY)
    ways = [f"--input={client.url}/{source}", f"--output={client.url}/{target}"]
    return spawn([dump, *ways, "--type=data", "--limit=1000", "--quiet"], place)


def copy_by_engine(client: SearchClient, source: str, target: str) -> Ran:
    """Copy with the engine's own `_reindex`."""
    client.request("PUT", f"/{target}", BODY)
    body = {"source": {"index": source}, "dest": {"index": target}}
    started = time.perf_counter()
    params = {"refresh": False, "wait_for_completion": False}
    task = client.request("POST", "/_reindex", body, params=params)["task"]
    while not client.request("GET", f"/_tasks/{task}")["completed"]:
        time.sleep(POLL_S)
    return Ran(time.perf_counter() - started, 0.0, b"")


def spawn(command: Sequence[str], place: Path) -> Ran:
    """Run a process to its end. Raises EsRerankError when it fails."""
    log = place / "log"
    started = time.perf_counter()
    with (place / "out").open("wb") as out, log.open("wb") as err:
        process = subprocess.Popen(
            command,
            cwd=place,
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
            env={**clean_environment(), "OMP_NUM_THREADS": "1"},
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        said = log.read_text(errors="replace")[-2000:]
        raise EsRerankError(f"{' '.join(command)} ended with {process.returncode}: {said}")
    return Ran(seconds, usage.ru_maxrss / 1000, (place / "out").read_bytes())


def find_elasticdump() -> str | None:
    """Elasticdump's command, fetched with npm into the cache; None, and why, where that fails."""
    folder = cache_folder() / "npm"
    command = folder / "node_modules" / ".bin" / "elasticdump"
    if command.exists():
        return str(command)
    npm = shutil.which("npm")
    if npm is None:
        say("Without elasticdump: there is no npm here, which fetches it (install Node.js).")
        return None
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [npm, "install", "--silent", "--prefix", str(folder), "elasticdump"], check=False
    )
    if done.returncode or not command.exists():
        say(f"Without elasticdump: npm could not install it (status {done.returncode}).")
        return None
    return str(command)


def fill(client: SearchClient, index: str, products: Iterator[bytes]) -> int:
    """Index the products; return how many."""
    client.request("PUT", f"/{quote(index)}", BODY)
    actions: list[Action] = []
    count = 0

    def send() -> None:
        if write_actions(client, index, actions, Pace()):
            raise EsRerankError("the engine refused some of the products")
        actions.clear()

    for line in products:
        actions.append(Action(orjson.dumps({"index": {"_id": read_id(line)}}), line))
        count += 1
        if len(actions) == BULK:
            send()
    if actions:
        send()
    client.request("POST", f"/{quote(index)}/_refresh")
    return count


def read_id(line: bytes) -> str:
    """The product's id."""
    return str(orjson.loads(line)["id"])


def read_products(folder: Path) -> Iterator[bytes]:
    """The products of Icecat, as they stand in the file."""
    plain, packed = folder / PRODUCTS, folder / f"{PRODUCTS}.gz"
    if not plain.exists() and not packed.exists():
        raise EsRerankError(f"{folder} holds no {PRODUCTS}, plain or .gz")
    with plain.open("rb") if plain.exists() else gzip.open(packed, "rb") as file:
        for line in file:
            yield line.strip()


def make_products(count: int) -> Iterator[bytes]:
    """Made-up products of some 700 bytes, always the same ones."""
    rng = random.Random(SEED)
    words = [f"{rng.choice('bdfgklmnprst')}{rng.choice('aeiou')}{n:x}" for n in range(4000)]
    for number in range(count):
        title = " ".join(rng.choices(words, k=8))
        product = {
            "id": str(number),
            "title": title,
            "brand": f"brand {number % 500}",
            "price_usd": rng.randrange(100, 100_000) / 100,
            "description": " ".join(rng.choices(words, k=70)),
            "attributes": {f"a{n}": rng.choice(words) for n in range(8)},
        }
        yield json.dumps(product).encode()


def remove(client: SearchClient) -> None:
    """Remove what this script makes."""
    for name in client.request("GET", f"/{PREFIX}*") or {}:
        client.request("DELETE", f"/{quote(name)}")


if __name__ == "__main__":
    run(main)
