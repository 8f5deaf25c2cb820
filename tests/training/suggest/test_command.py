"""`es-rerank train suggest`, from queries to judgments, on a catalogue and on real engines."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import urllib3
from click.testing import CliRunner

from es_rerank.cli.main import cli
from es_rerank.datasets.judgments import read_judgments
from es_rerank.engine.node import Node
from es_rerank.errors import ConfigError, DataError
from tests.training.conftest import rows

QUERIES = ["red running shoes", "garden gnome", "blue sun hat", "no such thing"]


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    path = tmp_path / "queries.txt"
    path.write_text("\n".join(QUERIES) + "\n")
    return path


def run(config: Path, *arguments: str, fails: bool = False) -> dict[str, Any]:
    command = ["--config", str(config), "--quiet", "train", "suggest", *arguments, "--json"]
    done = CliRunner().invoke(cli, command, catch_exceptions=fails)
    if fails:
        assert done.exception is not None
        raise done.exception
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def make_config(tmp_path: Path, model: str) -> Path:
    path = tmp_path / "es-rerank.toml"
    path.write_text(f"[model]\n{model}\n")
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rate(path: Path) -> None:
    """Fill a sheet in as the catalogue knows it."""
    names = {f"p{i}": row["title"].lower() for i, row in enumerate(rows(), start=100)}
    lines = read_rows(path)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        for line in lines:
            words = line["query"].split()
            line["rating"] = str(min(3, sum(word in names[line["docid"]] for word in words)))
            writer.writerow(line)


def test_from_a_catalogue_round_after_round(
    shop_folder: Path, backbone: Path, queries: Path, tmp_path: Path
) -> None:
    config = make_config(tmp_path, f'kind = "bi-encoder"\nname = "{backbone}"')
    sheet, into = tmp_path / "to-judge.csv", tmp_path / "judgments.csv"
    asked = ["--data", str(shop_folder), "--queries", str(queries), "--out", str(sheet)]
    asked += ["--into", str(into), "--count", "32", "--cache", str(tmp_path / "cache")]
    assert run(config, *asked) == {"pairs": 32, "queries": 4}
    lines = read_rows(sheet)
    assert {line["query"] for line in lines} == set(QUERIES)
    assert {"place by words", "place by vectors"} < set(lines[0])
    titles = {row["id"]: row["title"] for row in rows()}
    assert all(line["title"] == titles[line["docid"]] for line in lines)
    rate(sheet)
    with pytest.raises(DataError, match="holds ratings"):
        run(config, *asked, fails=True)
    told = run(config, "--read", str(sheet), "--into", str(into))
    assert told == {"rated": 32, "new": 32, "total": 32, "open": 0, "unsure": 0}
    first = read_judgments(into).ratings
    again = tmp_path / "again.csv"
    run(config, *asked[:4], "--out", str(again), *asked[6:])
    more = {(line["query"], line["docid"]) for line in read_rows(again)}
    assert len(more) == 32
    assert more.isdisjoint((query, d) for query, rated in first.items() for d in rated)


def test_without_vectors(shop_folder: Path, queries: Path, tmp_path: Path) -> None:
    config = make_config(tmp_path, 'kind = "lexical"')
    out = tmp_path / "to-judge.csv"
    asked = ["--data", str(shop_folder), "--queries", str(queries), "--out", str(out)]
    run(config, *asked, "--count", "24", "--by-lot", "0", "--into", str(tmp_path / "none.csv"))
    lines = read_rows(out)
    assert {line["query"] for line in lines} == set(QUERIES[:3])
    assert {"place by words", "place by model"} < set(lines[0])
    assert {line["reason"] for line in lines} <= {"top", "doubt", "dispute"}


def test_what_is_missing_is_told(shop_folder: Path, queries: Path, tmp_path: Path) -> None:
    config = make_config(tmp_path, 'kind = "lexical"')
    with pytest.raises(ConfigError, match="--queries"):
        run(config, "products", fails=True)
    with pytest.raises(ConfigError, match="one of both"):
        run(config, "--queries", str(queries), fails=True)
    queries.write_text("no such thing\n")
    with pytest.raises(DataError, match="nothing is left to judge"):
        run(config, "--queries", str(queries), "--data", str(shop_folder), fails=True)


def test_from_an_index(engine: Node, index_name: str, queries: Path, tmp_path: Path) -> None:
    for row in rows():
        urllib3.request(
            "PUT", f"{engine.url}/{index_name}/_doc/{row['id']}", json={**row, "attributes": {}}
        )
    urllib3.request("POST", f"{engine.url}/{index_name}/_refresh")
    config = make_config(tmp_path, 'kind = "lexical"')
    out, into = tmp_path / "to-judge.csv", tmp_path / "judgments.csv"
    asked = [index_name, "--url", engine.url, "--queries", str(queries), "--out", str(out)]
    assert run(config, *asked, "--count", "24", "--into", str(into)) == {"pairs": 24, "queries": 3}
    lines = read_rows(out)
    titles = {row["id"]: row["title"] for row in rows()}
    assert all(line["title"] == titles[line["docid"]] for line in lines)
    counts = np.unique([line["query"] for line in lines], return_counts=True)[1]
    assert counts.min() >= 3
