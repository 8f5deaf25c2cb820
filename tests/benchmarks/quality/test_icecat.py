from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.form import Row
from benchmarks.quality.icecat import (
    DEFAULT,
    RELEVANCE,
    TIMED,
    WAYS,
    Run,
    catalogue_body,
    measure_runs,
    pool_body,
)
from benchmarks.quality.judging import paired_rows, require_applied
from benchmarks.quality.tradeoff import PRICES, list_lines
from es_rerank.errors import EsRerankError
from es_rerank.evaluation.runs import Answer
from es_rerank.proxy.search.options import read_block

REPOSITORY = Path(__file__).parents[3]
QUALITY = (
    "pool | nDCG@10",
    "unrated 0 | nDCG@10",
    "rated only | nDCG@10",
    "unrated 0 | alpha_nDCG@10",
    "ILD@10",
    "brands@10",
)
DRAWN = ("unrated 0 | nDCG@10", "unrated 0 | alpha_nDCG@10", "ILD@10")
TIMES = ("added ms", "search ms")

PRODUCTS: dict[str, dict[str, Any]] = {
    "a": {"title": "hp laptop", "brand": "HP", "derived_type": "laptop"},
    "b": {"title": "hp laptop 2", "brand": "HP", "derived_type": "laptop"},
    "c": {"title": "dell laptop", "brand": "Dell", "derived_type": "laptop"},
    "x": {"title": "bag", "brand": "Dell", "derived_type": "bag"},
}
QRELS = {"laptop": {"a": 1, "b": 0, "c": 3}, "bag": {"a": 0}}
VECTORS = {"hp laptop": [1, 0], "hp laptop 2": [1, 0], "dell laptop": [0, 1], "bag": [-1, 0]}


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    return np.array([VECTORS[text] for text in texts], dtype=np.float32)


def quality_rows(runs: dict[str, Run]) -> list[Row]:
    return paired_rows(measure_runs(runs, QRELS, PRODUCTS, embed), "engine order")


def rows_by_name() -> dict[str, Row]:
    runs = {
        "engine order": Run({"laptop": ["x", "a", "c"], "bag": ["x"]}, {"laptop": ["a", "b", "c"]}),
        "reranked": Run({"laptop": ["c", "a", "x"], "bag": ["x"]}, {"laptop": ["c", "a", "b"]}),
    }
    return {row.what: row for row in quality_rows(runs)}


def test_every_run_has_a_row_for_every_measure() -> None:
    found = rows_by_name()
    assert list(found) == [f"{run} | {m}" for run in ("engine order", "reranked") for m in QUALITY]
    assert {row.rival for row in found.values()} == {"engine order"}
    assert not any(row.gate for row in found.values())
    assert found["reranked | pool | nDCG@10"].unit == "nDCG@10"


def test_the_three_ways_of_treating_the_unrated_by_hand() -> None:
    found = rows_by_name()
    ideal = 7 + 1 / math.log2(3)
    pool = (1 + 7 / math.log2(4)) / ideal
    unrated_0 = (1 / math.log2(3) + 7 / math.log2(4)) / ideal
    rated_only = (1 + 7 / math.log2(3)) / ideal
    assert found["engine order | pool | nDCG@10"].ours == pytest.approx(pool)
    assert found["engine order | unrated 0 | nDCG@10"].ours == pytest.approx(unrated_0)
    assert found["engine order | rated only | nDCG@10"].ours == pytest.approx(rated_only)
    reranked = found["reranked | unrated 0 | nDCG@10"]
    assert [reranked.ours, reranked.theirs] == pytest.approx([1.0, unrated_0])
    assert reranked.ratio == pytest.approx(1 / unrated_0)
    assert reranked.n == 1  # the query without a positive rating is left out


def test_intervals_are_of_the_mean_for_the_rival_and_of_the_difference_for_the_others() -> None:
    found = rows_by_name()
    rival, ours = found["engine order | brands@10"], found["reranked | brands@10"]
    assert rival.spread is not None
    assert ours.spread is not None
    assert rival.ratio == 1.0
    assert (rival.spread.low, rival.spread.high) == (1.0, 2.0)
    assert rival.spread.of.startswith("ours, the mean")
    assert (ours.spread.low, ours.spread.high) == (0.0, 0.0)
    assert ours.spread.of.startswith("ours - theirs")


def test_ild_leaves_out_a_list_of_one() -> None:
    row = rows_by_name()["engine order | ILD@10"]
    assert row.n == 1
    assert row.ours == pytest.approx((2 + 1 + 1) / 3)


def test_the_pool_asks_for_all_rated_documents_whether_or_not_they_match() -> None:
    body = pool_body("laptop", ["a", "b", "c"], {"diversity": 0})
    assert body["size"] == 3
    assert list(body["query"]["bool"]) == ["should", "filter"]
    assert body["query"]["bool"]["filter"] == {"ids": {"values": ["a", "b", "c"]}}
    assert body["ext"]["es_rerank"]["diversity"] == 0
    many = pool_body("laptop", [str(i) for i in range(300)], {})
    assert many["ext"]["es_rerank"]["rank_window_size"] == 300


def test_the_engine_itself_is_sent_no_options() -> None:
    assert "ext" not in catalogue_body("laptop", None)
    assert "ext" not in pool_body("laptop", ["a"], None)
    assert "ext" in catalogue_body("laptop", WAYS[DEFAULT].block)


def test_a_run_without_a_pool_has_the_other_rows() -> None:
    ranking = {"laptop": ["a", "c"], "bag": ["x"]}
    runs = {"engine order": Run(ranking, {"laptop": ["a", "b", "c"]}), "DPP": Run(ranking)}
    names = [row.what for row in quality_rows(runs)]
    assert "engine order | pool | nDCG@10" in names
    assert "DPP | pool | nDCG@10" not in names
    assert "DPP | rated only | nDCG@10" in names


def test_every_way_is_something_that_can_be_asked_for() -> None:
    for way in WAYS.values():
        read_block(dict(way.block))
        read_block(dict(way.pool or {}))
    assert WAYS[DEFAULT].block == {}
    assert WAYS[DEFAULT].pool == WAYS["model alone"].block


@pytest.mark.parametrize(
    "outcome",
    [
        "fallback; reason=deadline",
        "skipped; reason=sort",
        "",
        "applied; scored=64/100",
        "applied; notes=knn-failed",
        "applied; notes=knn-deadline",
    ],
)
def test_a_search_that_was_not_reranked_is_not_measured(outcome: str) -> None:
    with pytest.raises(EsRerankError, match="'laptop'"):
        require_applied({"laptop": Answer(("a", "b"), 1, 1, outcome)})
    require_applied({"one hit": Answer(("a",), 1, 1, outcome)})
    require_applied({"laptop": Answer(("a", "b"), 1, 1, "applied")})


@pytest.mark.live
@pytest.mark.timeout(600)
def test_the_benchmark_prints_its_json_from_a_real_engine_and_proxy(tmp_path: Path) -> None:
    write_data(tmp_path)
    page = tmp_path / "curves.html"
    command = [sys.executable, "-m", "benchmarks.quality.icecat", "--json", "--repetitions", "1"]
    command += ["--data-dir", str(tmp_path), "--folder", str(tmp_path / "kept")]
    done = subprocess.run(
        [*command, "--plot", str(page)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["hardware"]["cores"] >= 1
    rows = {row["what"]: row for row in found["rows"]}
    lines = list_lines(facets=True)  # which the default model has
    timed = [
        f"{run} | {what}{', query seen before' if seen else ''}"
        for run, seen in TIMED
        for what in TIMES
    ]
    pooled = ["engine order", *(name for name, way in WAYS.items() if way.pool is not None)]
    quality = [
        f"{run} | {measure}"
        for run in ("engine order", *WAYS)
        for measure in QUALITY
        if "pool" not in measure or run in pooled
    ]
    drawn = [f"{run} | {measure}" for line in lines.values() for run in line for measure in DRAWN]
    priced = [
        f"{line}, at -{price} | {good}" for line in lines for price in PRICES for good in DRAWN[1:]
    ]
    assert set(rows) == {*quality, *timed, *drawn, *priced}
    assert rows["engine order | pool | nDCG@10"]["n"] == 2
    assert 0 < rows["engine order | pool | nDCG@10"]["ours"] <= 1
    plain = rows[f"{RELEVANCE} | brands@10"]["ours"]
    assert rows[f"{DEFAULT} | brands@10"]["ours"] >= plain
    assert (
        rows["DPP, cosine kernel, 0.2 | ILD@10"]["theirs"] == rows["engine order | ILD@10"]["ours"]
    )
    through = rows[f"{DEFAULT} | search ms"]
    assert through["ratio"] == pytest.approx(through["theirs"] / through["ours"])
    assert page.read_text(encoding="utf-8").count("<polyline") == 2 * len(lines)


def write_data(folder: Path) -> None:
    """Two kinds of product of four brands, six of each brand and kind, and ratings of both."""
    products = [
        {
            "id": f"{kind}-{brand}-{number}",
            "title": f"{brand} {kind} {number}",
            "name": f"{number}",
            "brand": brand,
            "price_usd": 10.0 + number,
            "description": f"A {kind} that {brand} makes, number {number}",
            "attributes": {"product_colour": "Black", "number": float(number)},
            "image": "",
            "ean": f"{number}",
            "date_released": "2020-01-01",
            "derived_type": kind,
            "derived_type_source": "title",
        }
        for kind in ("laptop", "headphones")
        for brand in ("Acer", "Dell", "Sony", "Bose")
        for number in range(6)
    ]
    text = "".join(json.dumps(product) + "\n" for product in products)
    (folder / "icecat_products.jsonl").write_text(text, encoding="utf-8")
    with (folder / "chorus_ratings_dev.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["query", "docid", "rating"])
        for product in products:
            kind = product["derived_type"]
            writer.writerow(["laptop", product["id"], 3 if kind == "laptop" else 0])
            sony = product["brand"] == "Sony"
            writer.writerow(["sony headphones", product["id"], (kind == "headphones") + sony])
