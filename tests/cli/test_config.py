from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from es_rerank.cli.main import cli
from es_rerank.config import API_KEY_FALLBACKS, DEFAULT_FILE, SECRETS, list_settings


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand where no es-rerank.toml is, without other tools' keys."""
    monkeypatch.chdir(tmp_path)
    for name in API_KEY_FALLBACKS:
        monkeypatch.delenv(name, raising=False)


def show(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result


def as_object(*arguments: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(show("--json", *arguments).stdout)
    return shown


def test_every_setting_is_shown() -> None:
    expected = sorted(key for key, _ in list_settings() if ".NAME." not in key)
    assert list(as_object("config", "show")) == expected
    lines = show("config", "show").stdout.splitlines()
    assert [line.partition(" = ")[0] for line in lines] == expected
    assert "proxy.port = 9400" in lines
    assert "upstream.username = null" in lines


def test_each_value_names_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    DEFAULT_FILE.write_text('[proxy]\nport = 1\n[indices."p-*"]\ntext_fields = ["größe"]\n')
    monkeypatch.setenv("ES_RERANK_RERANK__TIMEOUT_MS", "50")
    monkeypatch.setenv("OPENSEARCH_URL", "http://cluster:9200")
    shown = as_object("config", "show", "--origin")
    assert shown["proxy.port"] == {"value": 1, "origin": "es-rerank.toml"}
    assert shown["indices.p-*.text_fields"] == {"value": ["größe"], "origin": "es-rerank.toml"}
    assert shown["rerank.timeout_ms"] == {"value": 50, "origin": "environment"}
    assert shown["upstream.url"] == {"value": "http://cluster:9200", "origin": "environment"}
    assert shown["model.kind"] == {"value": "cross-encoder", "origin": "default"}
    lines = show("config", "show", "--origin").stdout.splitlines()
    assert "proxy.port = 1  # es-rerank.toml" in lines
    assert 'indices.p-*.text_fields = ["größe"]  # es-rerank.toml' in lines
    assert 'model.kind = "cross-encoder"  # default' in lines


def test_the_named_file_is_read(tmp_path: Path) -> None:
    DEFAULT_FILE.write_text("[proxy]\nport = 1\n")
    file = tmp_path / "shop.toml"
    file.write_text("[proxy]\nport = 2\n")
    assert as_object("config", "show")["proxy.port"] == 1
    assert as_object("--config", str(file), "config", "show")["proxy.port"] == 2


def test_secrets_are_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.write_text("hunter2")
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://elastic:hunter2@cluster:9200")
    for way in ("", "_file"):
        for section, key in SECRETS:
            name = f"ES_RERANK_{section}__{key}".upper()
            monkeypatch.delenv(name, raising=False)
            monkeypatch.setenv(name + way.upper(), str(file) if way else "hunter2")
        for arguments in ((), ("--origin",)):
            assert "hunter2" not in show("config", "show", *arguments).stdout
            assert "hunter2" not in show("--json", "config", "show", *arguments).stdout
        shown = as_object("config", "show", "--origin")
        for section, key in SECRETS:
            origin = str(file) if way else "environment"
            assert shown[f"{section}.{key}"] == {"value": "**********", "origin": origin}
    assert as_object("config", "show")["upstream.url"] == "http://cluster:9200"
