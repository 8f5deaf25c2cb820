from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from es_rerank.cli.main import COMMANDS, cli

SHELLS = ("bash", "zsh", "fish")


def script(shell: str) -> str:
    result = CliRunner().invoke(cli, ["completion", shell], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_each_script_calls_the_command_back(shell: str) -> None:
    text = script(shell)
    assert f"_ES_RERANK_COMPLETE={shell}_complete" in text
    assert "es-rerank" in text


@pytest.mark.parametrize("shell", SHELLS)
def test_each_script_is_sound(shell: str) -> None:
    where = shutil.which(shell)
    if where is None:
        pytest.skip(f"no {shell} here")
    done = subprocess.run(
        [where, "-n"], input=script(shell), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["com"], ["completion"]),
        ([""], sorted(COMMANDS)),
        (["config", ""], ["show"]),
        (["completion", ""], list(SHELLS)),
        (["engine", "up", "--kind", "ela"], ["elasticsearch"]),
        (["reindex", "--dry"], ["--dry-run"]),
    ],
)
def test_bash_completes(words: list[str], expected: list[str]) -> None:
    typed = ["es-rerank", *words]
    spelt = " ".join(f"'{word}'" for word in typed)
    commands = (
        f"{script('bash')}\n"
        f"COMP_WORDS=({spelt}); COMP_CWORD={len(typed) - 1}; COMPREPLY=()\n"
        "_es_rerank_completion es-rerank; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", commands],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )
    assert done.stdout.split() == expected, done.stderr
