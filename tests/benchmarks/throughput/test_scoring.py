"""The scoring benchmark on a few pairs, and its figures on made-up ones."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from benchmarks.throughput import rivals, scoring


def test_texts_differ_and_queries_too() -> None:
    texts = scoring.load_texts(100)
    assert len(set(texts)) == 100
    rounds = scoring.make_rounds(texts, 7)
    assert len({query for query, _ in rounds}) == 8


def test_ratios_are_paired() -> None:
    seconds = {"fp32": [1.0, 2.0, 4.0], "rival": [2.0, 4.0, 12.0]}
    row, peak = scoring.make_rows(seconds, ["fp32"], ["rival"], 100, 8000)
    assert (row.ours, row.theirs, row.ratio) == (50.0, 25.0, 2.0)
    assert row.spread is not None
    assert (row.spread.low, row.spread.high) == (2.0, 2.5)
    assert peak.theirs > 0


def test_a_few_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """sentence-transformers' own scores and ours, on the real MiniLM."""
    pytest.importorskip("sentence_transformers")
    monkeypatch.setattr(rivals, "find_spec", lambda _: None)  # the export takes minutes
    out = tmp_path / "rows.json"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scoring.main(["--pairs", "4", "--rounds", "1", "--json", "--out", str(out)])
    found = {row["what"]: row for row in json.loads(out.read_text())["rows"]}
    assert found["fp32 | largest difference of scores"]["ours"] < 1e-4
    assert found["fp32 | order, Kendall's tau"]["ours"] == 1.0
    assert found["int8 | beside CrossEncoder.predict"]["ours"] > 0
    assert json.loads(capsys.readouterr().out)["rows"]
