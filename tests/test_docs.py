from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from es_rerank import errors
from es_rerank.cli.main import INTERRUPTED
from es_rerank.config import SECRETS, Settings, list_settings, load_settings
from es_rerank.telemetry import METRICS
from tests.cli.commands import walk

ROOT = Path(__file__).parent.parent
GENERATED = ("docs/configuration.md", "docs/command-line.md", "es-rerank.example.toml")
EXAMPLE = ROOT / "es-rerank.example.toml"


@pytest.fixture(scope="module")
def documentation() -> str:
    """README.md and everything below docs/, as one text."""
    return "\n".join(
        path.read_text(encoding="utf-8")
        for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    )


def generate(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "docs" / "generate.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_generated_files_are_up_to_date() -> None:
    done = generate(ROOT, "--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_out_of_date_is_named(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "generate.py", tmp_path / "docs")
    assert generate(tmp_path).returncode == 0
    for name in GENERATED:
        assert (tmp_path / name).read_text() == (ROOT / name).read_text()
    (tmp_path / GENERATED[0]).write_text("old")
    (tmp_path / GENERATED[2]).unlink()
    done = generate(tmp_path, "--check")
    assert done.returncode == 1
    assert done.stderr.startswith(f"out of date: {GENERATED[0]}, {GENERATED[2]}; run ")
    assert (tmp_path / GENERATED[0]).read_text() == "old"


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for key, field in list_settings():
        section, _, name = key.rpartition(".")
        table = text.partition(f"## [{section}]\n")[2].partition("\n## ")[0]
        row = next(line for line in table.splitlines() if line.startswith(f"| `{name}` |"))
        assert field.description in row


def test_every_command_and_flag_is_documented() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    for path, command in walk():
        name = " ".join(("es-rerank", *path))
        part = text.partition(f"# {name}\n")[2].partition("\n#")[0]
        assert part, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[-1] in part, f"{name} {parameter.opts}"
                assert parameter.help, f"{name} {parameter.opts}"


def test_every_help_begins_with_an_example() -> None:
    for path, command in walk():
        paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
        assert paragraphs[1].startswith("Example: "), path
        words = paragraphs[1].removeprefix("Example: ")
        assert "es-rerank" in words
        assert not path or path[-1] in words


def test_every_exit_code_is_documented() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| (\d+) \| (.+) \|$", text, re.MULTILINE))
    own: list[Any] = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in own}
    assert {int(code) for code in listed} == codes | {0, INTERRUPTED}
    for kind in own:
        if "exit_code" in vars(kind):
            assert listed[str(kind.exit_code)] == str(kind.__doc__).splitlines()[0]


def test_every_metric_is_documented(documentation: str) -> None:
    for metric in METRICS.collect():
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        assert f"`{name}" in documentation, name
        assert metric.documentation


def test_the_example_changes_nothing() -> None:
    assert load_settings(EXAMPLE) == Settings()


def test_every_line_of_the_example_can_be_uncommented(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    live = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    secret_file = tmp_path / "secret"
    secret_file.write_text("hunter2")
    file = tmp_path / "es-rerank.toml"
    file.write_text(live.replace("/path/to/file", str(secret_file)))
    settings = load_settings(file)
    assert settings.upstream.password is not None
    assert settings.indices["products-*"].enabled is True
    set_keys = set(re.findall(r"^(\w+) = ", live, re.MULTILINE))
    secrets = {key for _, key in SECRETS}
    assert set_keys == {key.rpartition(".")[2] for key, _ in list_settings()} - secrets


def test_relative_links_lead_somewhere() -> None:
    for file in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)\s]+)\)", file.read_text(encoding="utf-8")):
            target = link.partition("#")[0]
            if target and not re.match(r"[a-z]+:", target):
                assert (file.parent / target).exists(), f"{file.relative_to(ROOT)}: {link}"
