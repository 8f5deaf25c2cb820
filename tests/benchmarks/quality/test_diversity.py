"""The benchmark of ways to diversify: what it asks for and what it draws."""

from __future__ import annotations

from pathlib import Path

from benchmarks.quality import diversity
from es_rerank.proxy.search.options import read_block


def test_every_run_is_something_that_can_be_asked_for() -> None:
    runs = diversity.list_runs()
    assert diversity.FIXED in runs
    assert {"dpp 0.05 adaptive", "mmr 0.2", "mmr 0.2 adaptive", "cap"} < set(runs)
    assert len({str(block) for block in runs.values()}) == len(runs)
    for block in runs.values():
        read_block(block)


def test_the_curves_are_drawn(tmp_path: Path) -> None:
    measured = {
        name: {what: {"q1": 0.1 * i, "q2": float("nan")} for what in (*diversity.AXES, "nDCG@10")}
        for i, name in enumerate(diversity.list_runs())
    }
    diversity.draw(measured, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
