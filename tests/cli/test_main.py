from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import structlog

from es_rerank import __version__, errors
from es_rerank.cli import completion
from es_rerank.cli.main import COMMANDS, INTERRUPTED, main
from tests.cli.commands import walk

PATHS = [path for path, _ in walk()]
HEAVY = {"torch", "transformers", "scipy", "sklearn", "pandas", "faiss"}
HELP_CPU_S = 3.0
"""Processor time for a help text, far above what is usual (0.2 s), far below a start of torch."""

# Runs code, then writes what was imported and the processor time it took as the last line.
REPORT = """
import json, sys, time
try:
    {code}
except SystemExit as done:
    assert not done.code, done.code
print()
print(json.dumps([sorted(name for name in sys.modules if "." not in name), time.process_time()]))
"""


@pytest.fixture(autouse=True)
def structlog_as_before() -> Iterator[None]:
    """Commands set up logging for their process; give this one's back."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def run_and_report(code: str, folder: Path) -> tuple[str, set[str], float]:
    """Run code in a new interpreter. Returns its output, the modules imported, and CPU seconds."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT.format(code=code)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    output, _, report = done.stdout.rstrip().rpartition("\n")
    modules, seconds = json.loads(report)
    return output, set(modules), seconds


def run(*arguments: str) -> int:
    """Run the command line in this process; returns the exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    code: Any = ended.value.code
    return int(code)


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_starts_without_models(path: tuple[str, ...], tmp_path: Path) -> None:
    output, modules, seconds = run_and_report(
        f"from es_rerank.cli.main import main; main({[*path, '--help']})", tmp_path
    )
    assert output.startswith(" ".join(("Usage: es-rerank", *path)))
    assert not modules & HEAVY
    assert seconds < HELP_CPU_S


@pytest.mark.parametrize("words", [["config", "show"], ["completion", "bash"], ["--version"]])
def test_small_commands_start_without_models(words: list[str], tmp_path: Path) -> None:
    code = f"from es_rerank.cli.main import main; main({words})"
    output, modules, seconds = run_and_report(code, tmp_path)
    assert output
    assert not modules & HEAVY
    assert seconds < HELP_CPU_S


def test_a_proxy_with_a_remote_model_starts_without_torch(tmp_path: Path) -> None:
    code = (
        "import asyncio; from es_rerank.config import load_settings; "
        "from es_rerank.proxy.app import ProxyApp; "
        "model = {'kind': 'remote', 'url': 'http://127.0.0.1:1'}; "
        "app = ProxyApp(load_settings(None, {'model': model})); "
        "asyncio.run(app.ranker.load()); assert app.ranker.ready; app.ranker.close()"
    )
    _, modules, _ = run_and_report(code, tmp_path)
    assert "es_rerank" in modules
    assert not modules & (HEAVY - {"scipy"})  # whose LAPACK computes diversity


def test_the_module_is_the_command(tmp_path: Path) -> None:
    for command in (
        [sys.executable, "-m", "es_rerank"],
        [Path(sys.executable).parent / "es-rerank"],
    ):
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert (done.returncode, done.stdout) == (0, f"es-rerank, version {__version__}\n")


def test_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-h") == 0
    listed = capsys.readouterr().out.partition("Commands:\n")[2]
    assert [line.split()[0] for line in listed.splitlines()] == sorted(COMMANDS)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nope"], "No such command 'nope'"),
        (["--nope"], "No such option"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
        (["reindex", "one"], "Missing argument 'DEST'"),
        (["reindex", "a", "b", "--batch-size", "0"], "--batch-size"),
        ([], "Usage: es-rerank"),
    ],
)
def test_wrong_usage_is_2(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    out, err = capsys.readouterr()
    assert told in err
    assert out == ""


def test_wrong_settings_are_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing.toml"
    assert run("--config", str(missing), "config", "show") == 2
    assert capsys.readouterr().err == f"es-rerank: there is no configuration file {missing}\n"
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[proxy]\nprt = 1\n")
    assert run("--config", str(wrong), "serve") == 2
    assert "did you mean proxy.port?" in capsys.readouterr().err


def test_a_port_that_is_taken_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run("-q", "serve", "--port", str(taken.getsockname()[1])) == 2
    assert "choose another port" in capsys.readouterr().err


def test_a_cluster_that_cannot_be_reached_is_4(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert run("reindex", "a", "b", "--yes", "--url", url) == 4
    out, err = capsys.readouterr()
    assert err.startswith(f"es-rerank: {url} cannot be reached")
    assert out == ""


def test_an_interrupt_is_130(tmp_path: Path) -> None:
    """Ctrl-C while a cluster that accepts the connection does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-m", "es_rerank", "reindex", "a", "b", "--yes", "--url", url],
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        try:
            connection, _ = silent.accept()
            with connection:
                connection.recv(1024)
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, err) == (INTERRUPTED, "\nes-rerank: interrupted\n")


@pytest.mark.parametrize("kind", [kind for kind in vars(errors).values() if isinstance(kind, type)])
def test_each_error_ends_with_its_code(
    kind: type[errors.EsRerankError],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @click.command()
    def failing() -> None:
        raise kind("do this to mend it")

    monkeypatch.setattr(completion, "command", failing)
    assert run("completion") == kind.exit_code
    assert capsys.readouterr() == ("", "es-rerank: do this to mend it\n")


def test_a_command_may_choose_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @click.pass_context
    def ending(ctx: click.Context) -> None:
        ctx.exit(7)

    monkeypatch.setattr(completion, "command", ending)
    assert run("completion") == 7


def test_the_options_reach_the_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setenv("NO_COLOR", "")  # so that it is put back

    @click.command()
    @click.pass_context
    def looking(ctx: click.Context) -> None:
        seen.update(ctx.obj, color=ctx.color, no_color=os.environ.get("NO_COLOR"))

    monkeypatch.setattr(completion, "command", looking)
    assert run("completion") == 0
    expected: dict[str, Any] = {
        "config_file": None,
        "verbose": False,
        "quiet": False,
        "json": False,
    }
    assert seen == {**expected, "color": None, "no_color": ""}
    file = tmp_path / "x.toml"
    assert run("-v", "--json", "--no-color", "--config", str(file), "completion") == 0
    expected = {"config_file": file, "verbose": True, "quiet": False, "json": True}
    assert seen == {**expected, "color": False, "no_color": "1"}
