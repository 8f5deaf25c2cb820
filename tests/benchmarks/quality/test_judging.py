"""What benchmarks of quality share, on lists made here."""

from __future__ import annotations

from benchmarks.quality.judging import time_row


def test_less_time_is_better() -> None:
    row = time_row("knn | search ms", [20.0, 10.0, 30.0], "engine order", [10.0, 10.0])
    assert (row.ours, row.theirs, row.ratio) == (20.0, 10.0, 0.5)
