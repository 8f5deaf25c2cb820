"""Progress in a pipe is plain lines; on a terminal a bar, without colour where none is wanted."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from es_rerank.cli import progress
from es_rerank.cli.progress import format_duration, show_progress

PROGRAM = """
from es_rerank.cli.progress import show_progress
with show_progress("reindex", 200, "docs") as meter:
    meter.show(50)
    meter.show(200)
"""


def test_lines_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    with show_progress("reindex", 2000, "docs") as meter:
        meter.show(500)
        meter.show(2000)
    captured = capsys.readouterr()
    assert captured.out == ""
    first, last = captured.err.splitlines()
    assert first.startswith("reindex: 500/2,000 (25%), ")
    assert "docs/s" in first
    assert last.startswith("reindex: 2,000/2,000 (100%)")
    assert last.endswith("0 s left")


def test_lines_are_few(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("reindex", 100, "docs") as meter:
        for done in range(1, 101):
            meter.show(done)
    assert len(capsys.readouterr().err.splitlines()) == 1  # the last


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("reindex", 1, "docs", quiet=True) as meter:
        meter.show(1)
    assert capsys.readouterr().err == ""


def test_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("reindex", 0, "docs") as meter:
        meter.show(0)
    assert "0/0 (100%)" in capsys.readouterr().err


@pytest.mark.parametrize("no_color", [True, False])
def test_a_bar_on_a_terminal(no_color: bool) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    environment.pop("NO_COLOR", None)
    if no_color:
        environment["NO_COLOR"] = "1"
    try:
        command = [sys.executable, "-c", PROGRAM]
        subprocess.run(command, stderr=theirs, check=True, env=environment, timeout=60)
        os.close(theirs)
        shown = ""
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:  # the end, on Linux
                break
            if not data:
                break
            shown += data.decode(errors="replace")
    finally:
        os.close(ours)
    assert "reindex" in shown
    assert "200/200" in shown
    assert ("\x1b[38;5" in shown or "\x1b[3" in shown) is not no_color


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (187, "3 min 07 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
