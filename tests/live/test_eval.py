"""`es-rerank eval` on real engines, and what the proxy does with its verdict."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import urllib3

from es_rerank.engine.node import Node

COLOURS = ("red", "blue", "green", "black", "white", "brown")
KINDS = ("lamp", "bag", "chair")
LEXICAL = '[model]\nkind = "lexical"\n'


def fill(engine: Node, index: str) -> list[dict[str, Any]]:
    """Products that say their kind in the title, or of another kind in the description alone."""
    products = [
        {
            "id": f"{kind}-{colour}-{i}",
            "title": f"{colour} {kind} {i}",
            "description": f"goes with a {KINDS[(k + 1) % 3]}",
            "brand": f"b{(k + i) % 4}",
            "seller": f"s{i % 2}",
        }
        for k, kind in enumerate(KINDS)
        for colour in COLOURS
        for i in range(3)
    ]
    text, keyword = {"type": "text"}, {"type": "keyword"}
    properties = dict.fromkeys(("title", "description"), text) | dict.fromkeys(
        ("id", "brand", "seller"), keyword
    )
    urllib3.request("PUT", f"{engine.url}/{index}", json={"mappings": {"properties": properties}})
    lines = []
    for product in products:
        lines += [json.dumps({"index": {"_index": index, "_id": product["id"]}})]
        lines += [json.dumps(product)]
    answer = urllib3.request(
        "POST",
        f"{engine.url}/_bulk?refresh=true",
        body="\n".join(lines) + "\n",
        headers={"content-type": "application/x-ndjson"},
    )
    assert answer.json()["errors"] is False
    return products


def write_ratings(folder: Path, products: list[dict[str, Any]], upside_down: bool = False) -> Path:
    """Good is what says the query in its title; upside down, what does not."""
    path = folder / "ratings.csv"
    rows = ["query,docid,rating"]
    for colour in COLOURS:
        for kind in KINDS:
            query = f"{colour} {kind}"
            rows += [
                f"{query},{p['id']},{3 * ((query in p['title']) != upside_down)}" for p in products
            ]
    path.write_text("\n".join(rows) + "\nlamp,no-such,2\n", encoding="utf-8")
    return path


def run_eval(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (cwd / "es-rerank.toml").write_text(LEXICAL)
    command = [sys.executable, "-m", "es_rerank", "eval", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.live
def test_judgments_files_gate_and_verdict(engine: Node, index_name: str, tmp_path: Path) -> None:
    products = fill(engine, index_name)
    # The engine's own order is right here; a model that is made to say the opposite does not help.
    ratings = write_ratings(tmp_path, products)
    arguments = [index_name, "--url", engine.url, "--judgments", str(ratings)]
    arguments += ["--measure", "nDCG@10", "--measure", "entropy(brand)@10", "--measure", "RR"]
    done = run_eval(
        tmp_path,
        *arguments,
        *("--run", 'plain={"weights": {"relevance": 0, "first_stage": 1}, "diversity": 0}'),
        *("--html", "page.html", "--out", "out.json", "--save-runs", "runs"),
        *("--fail-under", "nDCG@10=0.01", "--json"),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "out.json").read_text())
    runs = found["runs"]
    assert list(runs) == ["engine", "reranked", "plain"]
    assert runs["plain"]["measures"]["nDCG@10"]["difference"] == 0.0
    assert runs["reranked"]["outcomes"]["applied"] > 10
    assert runs["engine"]["latency"]["median_ms"] > 0
    assert any("no-such" in note for note in found["notes"])
    assert "<svg" in (tmp_path / "page.html").read_text()
    engine_run = (tmp_path / "runs" / "engine.run").read_text().splitlines()
    again = run_eval(
        tmp_path, *arguments, "--no-times", "--read-run", "again=runs/engine.run", "--json"
    )
    assert json.loads(again.stdout)["runs"]["again"]["measures"]["RR"]["difference"] == 0.0
    assert len(engine_run) > 100
    gate = run_eval(tmp_path, *arguments, "--no-times", "--fail-under", "nDCG@10=1.01")
    assert gate.returncode == 5
    assert "nDCG@10 of reranked is" in gate.stderr
    assert "interval" in gate.stdout


@pytest.mark.live
def test_a_verdict_is_written_and_kept_to(engine: Node, index_name: str, tmp_path: Path) -> None:
    from es_rerank.cluster.client import connect
    from es_rerank.cluster.fields import find_fields
    from tests.proxy.catalogue import request
    from tests.proxy.wire import proxy_settings, serve_app

    products = fill(engine, index_name)
    ratings = write_ratings(tmp_path, products)
    arguments = [index_name, "--url", engine.url, "--judgments", str(ratings), "--no-times"]
    done = run_eval(tmp_path, *arguments, "--write-verdict", "--json")
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)["verdict"]
    client = connect(engine.url)
    mappings = client.request("GET", f"/{index_name}/_mapping")[index_name]["mappings"]
    client.close()
    stored = find_fields(mappings).verdict
    assert stored is not None
    assert (stored.finding, stored.model) == (verdict["finding"], verdict["model"])
    settings = proxy_settings(engine.url, "http://127.0.0.1:1", model={"kind": "lexical"})
    with serve_app(settings) as (proxy, app):
        assert app.ranker.model == stored.model
        body = {"query": {"match": {"title": "red lamp"}}}
        mark = request(proxy, "POST", f"/{index_name}/_search", body).headers["x-es-rerank"]
    off = stored.finding == "does-not-help"
    assert (mark == "skipped; reason=verdict") == off
    assert off  # no model can better the right order, and the intervals are narrow


@pytest.mark.live
def test_queries_alone_and_clicks(engine: Node, index_name: str, tmp_path: Path) -> None:
    products = fill(engine, index_name)
    (tmp_path / "queries.txt").write_text("red lamp\nblue bag\n")
    done = run_eval(tmp_path, index_name, "--url", engine.url, "--queries", "queries.txt", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["verdict"] is None
    assert "overlap@10" in found["runs"]["reranked"]["measures"]
    assert "Gini(seller)@10" in found["runs"]["engine"]["measures"]
    shown = [product["id"] for product in products if "red lamp" in product["title"]]
    searches = [
        {"query_id": str(i), "user_query": "red lamp", "query_response_hit_ids": shown}
        for i in range(6)
    ]
    events = [
        {
            "query_id": str(i),
            "action_name": "click",
            "event_attributes": {"object": {"object_id": shown[i % 3]}},
        }
        for i in range(6)
    ]
    for name, rows in (("searches", searches), ("events", events)):
        lines = "".join(
            json.dumps({"index": {"_index": f"{index_name}-{name}"}})
            + "\n"
            + json.dumps(row)
            + "\n"
            for row in rows
        )
        urllib3.request(
            "POST",
            f"{engine.url}/_bulk?refresh=true",
            body=lines,
            headers={"content-type": "application/x-ndjson"},
        )
    clicked = run_eval(
        tmp_path,
        *(index_name, "--url", engine.url, "--clicks", f"{index_name}-events", "--no-times"),
        *("--searches", f"{index_name}-searches", "--measure", "nDCG@10", "--json"),
    )
    assert clicked.returncode == 0, clicked.stderr
    found = json.loads(clicked.stdout)
    assert found["runs"]["engine"]["measures"]["nDCG@10"]["n"] == 1
    assert any("favour the order that was shown" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        ((), 2, "nothing to ask"),
        (("--queries", "queries.txt", "--write-verdict"), 2, "needs people's judgments"),
        (("--queries", "queries.txt", "--measure", "nDGC@10"), 2, "did you mean nDCG"),
        (("--queries", "queries.txt", "--run", "x=3"), 2, "needs an object"),
        (("--queries", "queries.txt", "--rival", "x"), 2, "there is no run 'x'"),
        (("--judgments", "no.csv"), 1, "cannot be read"),
        (("--judgments", "foreign.csv"), 2, "--id-field"),
        (("--queries", "queries.txt", "--run", 'x={"lambda": 1}'), 4, "use .diversity."),
    ],
)
def test_what_is_wrong_is_said(
    opensearch: Node,
    index_name: str,
    tmp_path: Path,
    arguments: tuple[str, ...],
    code: int,
    complaint: str,
) -> None:
    import re

    fill(opensearch, index_name)
    (tmp_path / "queries.txt").write_text("red lamp\n")
    (tmp_path / "foreign.csv").write_text("query,docid,rating\nred lamp,other,3\n")
    done = run_eval(tmp_path, index_name, "--url", opensearch.url, *arguments)
    assert (done.returncode, bool(re.search(complaint, done.stderr))) == (code, True), done.stderr
