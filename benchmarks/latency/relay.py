"""The relay beside nginx's proxy_pass: throughput as a share of it, and the milliseconds it adds.

A real nginx serves a file of 40 KB; nginx as a reverse proxy with keep-alive and es-rerank stand
in front of it in turn, round after round, with wrk as the load. Load, upstream and proxy share one
core (taskset), so the share says how much work a request costs. `--workers 2` measures instead two
workers of es-rerank against one, on two cores.

nginx, wrk and taskset are looked for on the PATH (`apt-get install nginx-light wrk util-linux`).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3

from benchmarks.form import Row, Spread, compare_row, parser, publish, run, say
from benchmarks.stack import free_port
from es_rerank.config import ProxySettings
from es_rerank.demo.stack import clean_environment
from es_rerank.errors import EsRerankError

BODY_BYTES = 40_000
CONNECTIONS = (1, 32)
START_S = 60.0
STOP_S = 15.0
GATE_SHARE = 0.30
GATE_ADDED_MS = 0.25
RIVAL = "nginx proxy_pass"
UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}

HEAD = """\
daemon off;
master_process off;
worker_processes 1;
pid nginx.pid;
error_log error.log warn;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
"""
ORIGIN = """\
    sendfile on;
    tcp_nopush on;
    open_file_cache max=10;
    default_type application/json;
    server { listen 127.0.0.1:%(port)d; root .; }
}
"""
REVERSE = """\
    upstream origin { server 127.0.0.1:%(origin)d; keepalive 64; keepalive_requests 100000000; }
    server {
        listen 127.0.0.1:%(port)d;
        proxy_buffers 16 8k;
        location / {
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
    }
}
"""


@dataclass(frozen=True)
class Load:
    """What wrk measured: requests a second, and the median of their milliseconds."""

    rate: float
    median_ms: float


def main() -> None:
    """Run it."""
    options = parser(__doc__ or "")
    options.add_argument("--rounds", type=int, default=7, help="alternated rounds (7)")
    options.add_argument("--seconds", type=int, default=4, help="of each run of wrk (4)")
    options.add_argument("--core", type=int, help="the core to share; the last one if not given")
    options.add_argument(
        "--workers", type=int, default=1, help="measure so many workers against one, on two cores"
    )
    chosen = options.parse_args()
    for program in ("nginx", "wrk", "taskset"):
        find(program)
    usable = sorted(os.sched_getaffinity(0))
    if chosen.workers > 1:
        if len(usable) < 2:
            raise EsRerankError("--workers needs two cores to run on.")
        rows = measure_workers(usable[-2:], chosen.workers, chosen.rounds, chosen.seconds)
        publish(
            rows, chosen, f"{chosen.workers} workers against one, {BODY_BYTES} bytes, two cores"
        )
        return
    core = usable[-1] if chosen.core is None else chosen.core
    if core not in usable:
        raise EsRerankError(f"Core {core} is not among those this process may use: {usable}.")
    rows = measure_relay([core], chosen.rounds, chosen.seconds)
    publish(rows, chosen, f"Relay of {BODY_BYTES} bytes, everything on one core")


def measure_relay(cores: Sequence[int], rounds: int, seconds: int) -> list[Row]:
    """Alternate origin, nginx and es-rerank; a row for each number of connections and figure."""
    measured: dict[tuple[str, int], list[Load]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-")))
        origin = stack.enter_context(nginx(folder / "origin", cores, ORIGIN))
        rival = stack.enter_context(nginx(folder / "rival", cores, REVERSE, origin))
        ours = stack.enter_context(es_rerank(folder, cores, origin))
        ports = {"origin": origin, "nginx": rival, "es-rerank": ours}
        for port in ports.values():
            load(port, cores, 8, 1)
        for turn in range(rounds):
            names = list(ports) if turn % 2 == 0 else list(reversed(ports))
            for connections in CONNECTIONS:
                for name in names:
                    got = load(ports[name], cores, connections, seconds)
                    measured.setdefault((name, connections), []).append(got)
                    say(
                        f"{turn + 1}/{rounds} {name:9} {connections:2}: {got.rate:8.0f} req/s, "
                        f"{got.median_ms:.3f} ms"
                    )
    rows = []
    for connections in CONNECTIONS:
        mine, theirs, bare = (
            measured[name, connections] for name in ("es-rerank", "nginx", "origin")
        )
        shares = sorted(m.rate / t.rate for m, t in zip(mine, theirs, strict=True))
        what = "1 connection" if connections == 1 else f"{connections} connections"
        rows.append(
            compare_row(
                f"{what} | requests per second",
                ours=statistics.median(m.rate for m in mine),
                rival=RIVAL,
                theirs=statistics.median(t.rate for t in theirs),
                unit="1/s",
                better="higher",
                n=rounds,
                spread=Spread(shares[0], shares[-1], "least and greatest share of the rounds"),
                gate=True,
            )
        )
        added = sorted(m.median_ms - b.median_ms for m, b in zip(mine, bare, strict=True))
        rows.append(
            compare_row(
                f"{what} | added at the median",
                ours=statistics.median(added),
                rival=RIVAL,
                theirs=statistics.median(
                    t.median_ms - b.median_ms for t, b in zip(theirs, bare, strict=True)
                ),
                unit="ms",
                better="lower",
                n=rounds,
                spread=Spread(added[0], added[-1], "least and most added by es-rerank"),
                gate=connections == 1,
            )
        )
    return rows


def measure_workers(cores: Sequence[int], workers: int, rounds: int, seconds: int) -> list[Row]:
    """Alternate es-rerank with one worker and with several."""
    if "workers" not in ProxySettings.model_fields:
        raise EsRerankError("This build of es-rerank has no setting proxy.workers.")
    rates: dict[int, list[float]] = {1: [], workers: []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-")))
        origin = stack.enter_context(nginx(folder / "origin", cores, ORIGIN))
        ports = {
            count: stack.enter_context(es_rerank(folder, cores, origin, count)) for count in rates
        }
        for turn in range(rounds):
            for count in ports if turn % 2 == 0 else reversed(ports):
                got = load(ports[count], cores, 32, seconds)
                rates[count].append(got.rate)
                say(f"{turn + 1}/{rounds} {count} workers: {got.rate:8.0f} req/s")
    ratios = sorted(a / b for a, b in zip(rates[workers], rates[1], strict=True))
    return [
        compare_row(
            "32 connections | requests per second",
            ours=statistics.median(rates[workers]),
            rival="one worker",
            theirs=statistics.median(rates[1]),
            unit="1/s",
            better="higher",
            n=rounds,
            spread=Spread(ratios[0], ratios[-1], "least and greatest ratio of the rounds"),
        )
    ]


@contextmanager
def nginx(folder: Path, cores: Sequence[int], config: str, origin: int = 0) -> Iterator[int]:
    """Run an nginx from a folder of its own. Yields its port."""
    folder.mkdir()
    port = free_port()
    (folder / "answer.json").write_bytes(b'"' + b"x" * (BODY_BYTES - 2) + b'"')
    written = HEAD + config % {"port": port, "origin": origin}
    (folder / "nginx.conf").write_text(written, encoding="utf-8")
    command = [find("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"]
    with running(command, cores, folder / "output.log", os.environ):
        wait_until_answers(port, "/answer.json", folder / "error.log")
        yield port


@contextmanager
def es_rerank(folder: Path, cores: Sequence[int], origin: int, workers: int = 1) -> Iterator[int]:
    """Run the proxy; it only relays here, so its model is one that is never asked."""
    port = free_port()
    settings = {
        "ES_RERANK_UPSTREAM__URL": f"http://127.0.0.1:{origin}",
        "ES_RERANK_PROXY__PORT": str(port),
        "ES_RERANK_MODEL__KIND": "remote",
        "ES_RERANK_MODEL__URL": "http://127.0.0.1:9",
    }
    if workers > 1:
        settings["ES_RERANK_PROXY__WORKERS"] = str(workers)
    command = [sys.executable, "-m", "es_rerank", "serve"]
    log = folder / f"es-rerank-{workers}.log"
    with running(command, cores, log, {**clean_environment(), **settings}):
        wait_until_answers(port, "/answer.json", log)
        yield port


@contextmanager
def running(
    command: Sequence[str], cores: Sequence[int], log: Path, environment: Mapping[str, str]
) -> Iterator[None]:
    """Run a program on some cores, its output in a file; end it afterwards."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            pinned(command, cores),
            cwd=log.parent,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def load(port: int, cores: Sequence[int], connections: int, seconds: int) -> Load:
    """Run wrk. Raises EsRerankError where an answer was not what was asked for."""
    url = f"http://127.0.0.1:{port}/answer.json"
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    done = subprocess.run(
        pinned([find("wrk"), *options, url], cores), capture_output=True, text=True, check=False
    )
    text = done.stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    median = re.search(r"50%\s+([\d.]+)(us|ms|s)", text)
    if done.returncode or rate is None or median is None:
        raise EsRerankError(f"wrk failed: {text}{done.stderr}")
    if "Non-2xx" in text or "Socket errors" in text:
        raise EsRerankError(f"Not every request was answered: {text}")
    return Load(float(rate[1]), float(median[1]) * UNITS_MS[median[2]])


def pinned(command: Sequence[str], cores: Sequence[int]) -> list[str]:
    return [find("taskset"), "-c", ",".join(map(str, cores)), *command]


def find(program: str) -> str:
    """The program's path. Raises EsRerankError where it is not installed."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        raise EsRerankError(
            f"This benchmark needs {program} on the PATH: "
            "apt-get install nginx-light wrk util-linux"
        )
    return path


def wait_until_answers(port: int, path: str, log: Path) -> None:
    """Wait for a 200. Raises EsRerankError with the log's end when none comes."""
    pool = urllib3.PoolManager()
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            url = f"http://127.0.0.1:{port}{path}"
            if pool.request("GET", url, timeout=2, retries=False).status == 200:
                return
        time.sleep(0.05)
    tail = log.read_text(encoding="utf-8", errors="replace")[-2000:] if log.exists() else ""
    raise EsRerankError(f"Nothing answers on port {port}. The end of {log}:\n{tail}")


if __name__ == "__main__":
    run(main)
