from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.form import (
    Row,
    Spread,
    as_json,
    compare_row,
    hardware,
    make_overview,
    parser,
    print_table,
    publish,
    run,
)
from es_rerank.errors import DataError

KEYS = ["what", "ours", "rival", "theirs", "unit", "ratio", "n", "spread", "gate"]


def make_row(what: str = "reranked | pool | nDCG@10") -> Row:
    return compare_row(
        what,
        ours=0.9,
        rival="engine order",
        theirs=0.6,
        unit="nDCG@10",
        better="higher",
        n=56,
        spread=Spread(0.2, 0.4, "ours - theirs"),
    )


def test_a_ratio_above_one_is_better_both_ways() -> None:
    assert make_row().ratio == pytest.approx(1.5)
    faster = compare_row(
        "a | ms", ours=2.0, rival="b", theirs=6.0, unit="ms", better="lower", n=1, gate=True
    )
    assert faster.ratio == pytest.approx(3.0)
    assert faster.gate


def test_a_ratio_to_nothing_is_undefined() -> None:
    row = compare_row("a", ours=1.0, rival="b", theirs=0.0, unit="u", better="higher", n=1)
    assert row.ratio is None
    added = compare_row("a", ours=3.0, rival="b", theirs=0.0, unit="ms", better="lower", n=1)
    assert added.ratio == 0.0


def test_a_figure_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        compare_row("a", ours=math.nan, rival="b", theirs=1.0, unit="u", better="higher", n=1)


def test_json_is_one_object_of_hardware_and_rows() -> None:
    found = json.loads(as_json([make_row()], {"cpu": "some"}))
    assert list(found) == ["hardware", "rows"]
    assert list(found["rows"][0]) == KEYS
    assert found["rows"][0]["spread"] == {"low": 0.2, "high": 0.4, "of": "ours - theirs"}
    assert found["rows"][0]["gate"] is False


def test_json_and_table_go_where_the_options_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.json"
    publish([make_row()], parser("x").parse_args(["--json", "--out", str(out)]), "A title")
    printed = capsys.readouterr().out
    assert json.loads(printed) == json.loads(out.read_text())
    publish([make_row()], parser("x").parse_args([]), "A title")
    assert "A title" in capsys.readouterr().out


def test_the_table_shows_every_row_and_what_its_interval_is_of() -> None:
    text = io.StringIO()
    print_table(
        [make_row()], {"cpu": "some", "gpu": None}, "A title", Console(file=text, width=200)
    )
    shown = text.getvalue()
    for part in ("A title", "reranked | pool | nDCG@10", "0.900", "0.600", "1.500", "56"):
        assert part in shown
    assert "0.200 … 0.400" in shown
    assert "interval: ours - theirs" in shown
    assert "cpu some" in shown
    assert "gpu" not in shown
    assert "theirs: engine order" in shown


def test_runs_that_share_measures_get_an_overview() -> None:
    rows = [make_row("a | x"), make_row("b | x"), make_row("b | pool | y")]
    text = io.StringIO()
    print_table(rows, {}, "A title", Console(file=text, width=60))
    words = [line.split() for line in text.getvalue().splitlines()]
    assert [found for found in words if found[:1] in (["a"], ["b"]) and "|" not in found] == [
        ["a", "0.900", "–"],
        ["b", "0.900", "0.900"],
    ]
    assert make_overview(rows[1:], "A title") is None


def test_different_rivals_get_a_column() -> None:
    other = compare_row("c", ours=1.0, rival="nginx", theirs=2.0, unit="u", better="higher", n=1)
    text = io.StringIO()
    print_table([make_row(), other], {}, "A title", Console(file=text))
    assert "nginx" in text.getvalue()
    assert "theirs:" not in text.getvalue()


def test_hardware_names_this_machine() -> None:
    found = hardware()
    assert found["cores"] >= 1
    assert found["python"].startswith("3.")
    assert found["torch"]
    assert json.loads(json.dumps(found)) == found


def test_a_users_error_ends_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise DataError("The file is not there.")

    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == DataError.exit_code
    assert capsys.readouterr().err == "Error: The file is not there.\n"
