"""The real proxy in front of a real engine with a shop in it, as benchmarks measure them."""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3

from benchmarks.form import say
from es_rerank.demo.shops import Shop
from es_rerank.demo.stack import Stack, clean_environment, open_stack
from es_rerank.engine.cache import cache_folder
from es_rerank.errors import EsRerankError

START_S = 180.0
STOP_S = 15.0


def icecat_folder() -> Path:
    """Where benchmarks on Icecat keep the engine's data."""
    return cache_folder() / "benchmarks" / "icecat"


def add_icecat_options(options: argparse.ArgumentParser) -> None:
    """Where the data are, and where the engine keeps them."""
    options.add_argument("--data-dir", type=Path, required=True, help="folder of the data")
    options.add_argument(
        "--folder",
        type=Path,
        default=icecat_folder(),
        help="where the engine's data are kept for the next run (%(default)s)",
    )


@dataclass(frozen=True)
class Running:
    """A proxy that runs: its address and its process."""

    url: str
    pid: int


@contextmanager
def proxy(stack: Stack, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run the real proxy in front of the engine, with default settings; yields its address.

    `settings` are `ES_RERANK_*` variables. Raises EsRerankError when it does not become ready.
    """
    with running_proxy(stack, settings) as running:
        yield running.url


@contextmanager
def running_proxy(stack: Stack, settings: Mapping[str, str] | None = None) -> Iterator[Running]:
    """The same; yields its process too."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = stack.folder / f"proxy-{port}.log"
    command = [sys.executable, "-m", "es_rerank", "serve"]
    command += ["--upstream", stack.url, "--port", str(port)]
    say(f"Starting the proxy at {url}, log {log} ...")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=stack.folder,
            env={**clean_environment(), **(settings or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(process, url, log)
        yield Running(url, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def add_engine_options(options: argparse.ArgumentParser) -> None:
    """How an engine is named that runs already, with the shop in it."""
    options.add_argument("--url", help="an OpenSearch that holds the shop already")
    options.add_argument("--indices", nargs=2, metavar=("PLAIN", "ENRICHED"))


@contextmanager
def shop_stack(
    shop: Shop, chosen: argparse.Namespace, place: Path, folder: Path | None = None
) -> Iterator[Stack]:
    """The engine that `add_engine_options` let choose, or one booted with the shop in it.

    place: for the logs of what runs before an engine that is there already. folder: of the data of
    one that is booted; the usual one where it is None.
    """
    if not chosen.url:
        with open_stack(shop, say, folder) as stack:
            yield stack
        return
    plain, enriched = chosen.indices or (f"{shop.name}-plain", shop.name)
    yield Stack(chosen.url, "OpenSearch", plain, enriched, place)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    pool = urllib3.PoolManager()
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if (
                pool.request("GET", f"{url}/_es_rerank/ready", timeout=5, retries=False).status
                == 200
            ):
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.2)
    ended = process.poll()
    how = f"ended with status {ended}" if ended is not None else f"was not ready in {START_S:.0f} s"
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
    raise EsRerankError(f"The proxy {how}. The end of {log}:\n{tail}")
