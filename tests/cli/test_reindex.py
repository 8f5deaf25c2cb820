"""`es-rerank reindex` where no engine is needed: usage, and clusters that are not there."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from es_rerank.cli.dead_letter import SHOWN_FAILURES, FailureLog, read_failed
from es_rerank.cli.main import cli, main
from es_rerank.cluster.sink import Failure


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as exited:
        main(["reindex", *arguments])
    code = exited.value.code
    assert isinstance(code, int)
    return code, capsys.readouterr().err


def test_help_begins_with_an_example() -> None:
    answer = CliRunner().invoke(cli, ["reindex", "--help"])
    assert answer.exit_code == 0
    assert "Example: es-rerank reindex products products-reranked" in answer.output
    for option in ("--dry-run", "--yes", "--json", "--batch-size", "--limit", "--text-field"):
        assert option in answer.output
    for option in ("--attribute-field", "--url", "--accept-failures", "--install-templates"):
        assert option in answer.output


def test_unreachable_is_4(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        code, said = _run(capsys, "a", "b", "--yes", "--url", url)
        assert (code, url in said, "cannot be reached" in said) == (4, True, True)
        monkeypatch.setenv("OPENSEARCH_URL", url)
        code, said = _run(capsys, "a", "b", "--yes")
        assert (code, url in said) == (4, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("a",),
        ("a", "b", "--batch-size", "0"),
        ("a", "b", "--limit", "-1"),
        ("a", "b", "--url", "localhost:9200"),
    ],
)
def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    assert _run(capsys, *arguments)[0] == 2


def test_it_starts_without_torch() -> None:
    program = (
        "import sys, es_rerank.cli.reindex; sys.exit('torch' in sys.modules or"
        " 'transformers' in sys.modules or 'elasticsearch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_failures_are_written_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with FailureLog() as log:
        log.name_after("shop-000001")
        assert list(tmp_path.iterdir()) == []
        for number in range(SHOWN_FAILURES + 3):
            log.add(Failure(f"标 {number}", 400, "refused", "because"))
    lines = (tmp_path / "shop-000001-failures.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == SHOWN_FAILURES + 3
    expected = {"id": "标 0", "status": 400, "type": "refused", "reason": "because"}
    assert {**expected, "routing": None, "field": None, "step": None} == json.loads(lines[0])
    again = read_failed(tmp_path / "shop-000001-failures.jsonl")
    assert again[:2] == [("标 0", None), ("标 1", None)]
    assert [failure.id for failure in log.first] == [f"标 {n}" for n in range(SHOWN_FAILURES)]
