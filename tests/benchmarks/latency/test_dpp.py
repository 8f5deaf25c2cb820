"""The DPP's benchmark on small cases: equal kernels, equal choices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.latency import dpp
from es_rerank.errors import EsRerankError


@pytest.mark.parametrize("flat", [False, True])
def test_all_choose_the_same_places(flat: bool) -> None:
    case = dpp.make_case(300, 20, flat=flat)
    ours = case.ours()
    assert [int(i) for i in case.theirs()] == ours
    if flat:
        assert case.by_rows() == ours


def test_rivals_that_disagree_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    case = dpp.make_case(50, 5)
    monkeypatch.setattr(dpp.Case, "theirs", lambda self: list(range(5)))
    with pytest.raises(EsRerankError, match="chose others"):
        dpp.measure(case, 1, "pyversity")


def test_rows_json_and_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dpp, "GATED", ((50, 5),))
    monkeypatch.setattr(dpp, "FLAT", (400, 5))
    monkeypatch.setattr(dpp, "GROWTH", (50, 100))
    plot = tmp_path / "growth.png"
    dpp.main(["--json", "--rounds", "2", "--plot", str(plot)])
    rows = {row["what"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert [name for name, row in rows.items() if row["gate"]] == [
        "50, 5",
        "400, 5, equal quality",
    ]
    assert {"growth | 50, 50", "growth | 100, 50"} < set(rows)
    assert all(np.isfinite(row["ratio"]) for row in rows.values())
    assert plot.read_bytes().startswith(b"\x89PNG")
