from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from es_rerank.config import (
    API_KEY_FALLBACKS,
    DEFAULT_FILE,
    SECRETS,
    URL_FALLBACKS,
    ModelSettings,
    Settings,
    UpstreamSettings,
    flatten,
    list_settings,
    load_settings,
    put,
    trace_settings,
)
from es_rerank.errors import ConfigError

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand where no es-rerank.toml is, without the fallback variables."""
    monkeypatch.chdir(tmp_path)
    for name in (*URL_FALLBACKS, *API_KEY_FALLBACKS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        file = tmp_path / "shop.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def refusal(file: Path | None = None) -> str:
    with pytest.raises(ConfigError) as refused:
        load_settings(file)
    return str(refused.value)


def test_defaults() -> None:
    settings, origins = trace_settings()
    assert settings == Settings()
    assert origins == {}
    assert settings.proxy.host == "127.0.0.1"


def test_a_flag_goes_before_the_environment_before_the_file_before_a_fallback(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def where(
        file: Path | None = None, flags: dict[str, dict[str, str]] | None = None
    ) -> tuple[str, str]:
        settings, origins = trace_settings(file, flags)
        return settings.upstream.url, origins.get("upstream.url", "default")

    assert where() == ("http://localhost:9200", "default")
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://fallback")
    assert where() == ("http://fallback", "environment")
    file = write('[upstream]\nurl = "http://file"\n')
    assert where(file) == ("http://file", str(file))
    monkeypatch.setenv("ES_RERANK_UPSTREAM__URL", "http://environment")
    assert where(file) == ("http://environment", "environment")
    assert where(file, {"upstream": {"url": "http://flag"}}) == ("http://flag", "flag")


def test_sources_are_mixed_key_by_key(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write("[rerank]\nrank_window_size = 50\n[rerank.diversify]\ndiversity = 0.4\n")
    monkeypatch.setenv("ES_RERANK_RERANK__DIVERSIFY__VECTOR_WEIGHT", "0.25")
    settings, origins = trace_settings(file, {"rerank": {"enabled": None}, "proxy": {"port": 0}})
    assert settings.rerank.rank_window_size == 50
    assert settings.rerank.diversify.diversity == 0.4
    assert settings.rerank.diversify.vector_weight == 0.25
    assert settings.rerank.enabled is True
    assert origins == {
        "rerank.rank_window_size": str(file),
        "rerank.diversify.diversity": str(file),
        "rerank.diversify.vector_weight": "environment",
        "proxy.port": "flag",
    }


def test_a_file_here_is_read_unless_another_is_named(write: Write) -> None:
    DEFAULT_FILE.write_text("[proxy]\nport = 1234\n")
    assert load_settings().proxy.port == 1234
    assert load_settings(write("[proxy]\nport = 4321\n")).proxy.port == 4321
    DEFAULT_FILE.unlink()
    assert load_settings().proxy.port == 9400


@pytest.mark.parametrize("name", URL_FALLBACKS)
def test_each_url_fallback(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://elsewhere:9201")
    assert load_settings().upstream.url == "http://elsewhere:9201"


def test_fallbacks_are_read_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*URL_FALLBACKS, *API_KEY_FALLBACKS):
        monkeypatch.setenv(name, f"http://{name}")
    upstream = load_settings().upstream
    assert upstream.url == "http://ELASTICSEARCH_URL"
    assert upstream.api_key is not None
    assert upstream.api_key.get_secret_value() == "http://ELASTIC_API_KEY"


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_RERANK_UPSTREAM__URL", "")
    monkeypatch.setenv("ELASTICSEARCH_URL", "")
    assert trace_settings() == (Settings(), {})


def test_lists_and_indices_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_RERANK_RERANK__TEXT_FIELDS", '["title", "body"]')
    monkeypatch.setenv("ES_RERANK_INDICES__products__DIVERSITY", "0.3")
    settings = load_settings()
    assert settings.rerank.text_fields == ("title", "body")
    assert settings.indices["products"].diversity == 0.3


@pytest.mark.parametrize(
    ("name", "value"),
    [("ES_RERANK_RERANK__TEXT_FIELDS", "title, body"), ("ES_RERANK_UPSTREAM", "http://x")],
)
def test_what_is_no_json_is_explained(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert "written as JSON" in refusal()


def test_an_unknown_section_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_RERANK_UPSTREM__URL", "http://x")
    assert "did you mean ES_RERANK_UPSTREAM__URL?" in refusal()


def test_variables_with_another_meaning_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_RERANK_CACHE", "/somewhere")
    monkeypatch.setenv("ES_RERANK_PORT_9400_TCP", "tcp://10.0.0.1:9400")  # as Kubernetes sets it
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[upstream]\nurll = 1", "upstream.urll (from FILE): there is no such setting; did you "),
        ("[upstrem]\nurl = 1", "upstrem (from FILE): there is no such setting; did you mean upst"),
        ("[rerank.diversify]\ndiversty = 1", "did you mean rerank.diversify.diversity?"),
        ('[indices."p.*"]\ndiversty = 1', "did you mean indices.p.*.diversity?"),
        ("[proxy]\nzzz = 1", "proxy.zzz (from FILE): there is no such setting"),
        ("[proxy]\nport = 70000", "proxy.port (from FILE): Input should be less than"),
        ('[indices."p.*"]\ndiversity = 2', "indices.p.*.diversity (from FILE): Input should be"),
        ("[rerank]\ntext_fields = [3]", "rerank.text_fields.0 (from FILE): Input should be"),
        ('upstream = "http://x"', "FILE: upstream is a table: write its settings below [upstream]"),
        ("[[indices]]\nname = 1", "indices is a table"),
        ("[upstream", "FILE cannot be read as TOML"),
    ],
)
def test_wrong_files_are_explained(text: str, expected: str, write: Write) -> None:
    file = write(text)
    assert expected.replace("FILE", str(file)) in refusal(file)


def test_each_wrong_setting_is_told_with_its_origin(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write("[upstream]\ntimeout_s = -1\n")
    monkeypatch.setenv("ES_RERANK_UPSTREAM__VERIFY", "perhaps")
    told = refusal(file)
    assert "upstream.verify (from environment)" in told
    assert f"upstream.timeout_s (from {file})" in told


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.toml"
    assert refusal(missing) == f"there is no configuration file {missing}"
    assert "cannot be read" in refusal(tmp_path)
    broken = tmp_path / "latin.toml"
    broken.write_bytes(b'[upstream]\nusername = "\xe9"\n')
    assert "cannot be read" in refusal(broken)


@pytest.mark.parametrize(("section", "key"), SECRETS)
def test_a_secret_in_the_file_is_refused(section: str, key: str, write: Write) -> None:
    told = refusal(write(f'[{section}]\n{key} = "hunter2"\n'))
    assert f"ES_RERANK_{section.upper()}__{key.upper()}" in told
    assert f"{section}.{key}_file" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(("section", "key"), SECRETS)
def test_a_secret_comes_by_its_file_or_the_environment(
    section: str, key: str, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def secret() -> tuple[str, str]:
        settings, origins = trace_settings(file)
        value = getattr(getattr(settings, section), key).get_secret_value()
        return value, origins[f"{section}.{key}"]

    secret_file = tmp_path / "secret"
    secret_file.write_text("of the file\n")
    file = write(f'[{section}]\n{key}_file = "{secret_file}"\n')
    assert secret() == ("of the file", str(secret_file))
    for name in API_KEY_FALLBACKS:  # stand below the TOML file
        monkeypatch.setenv(name, "of other tools")
    assert secret() == ("of the file", str(secret_file))
    monkeypatch.setenv(f"ES_RERANK_{section.upper()}__{key.upper()}", "of the environment")
    assert secret() == ("of the environment", "environment")


def test_a_secret_file_that_is_not_there(write: Write) -> None:
    told = refusal(write('[upstream]\npassword_file = "nowhere"\n'))
    assert told.startswith("upstream.password_file cannot be read")
    assert "nowhere" in told
    assert "cannot be read" in refusal(write("[upstream]\npassword_file = 3\n"))


def test_secrets_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    for section, key in SECRETS:
        monkeypatch.setenv(f"ES_RERANK_{section.upper()}__{key.upper()}", "hunter2")
    settings = load_settings()
    assert settings.upstream.password is not None
    assert settings.upstream.password.get_secret_value() == "hunter2"
    for shown in (repr(settings), str(settings), settings.model_dump_json(), f"{settings.model}"):
        assert "hunter2" not in shown
    monkeypatch.setenv("ES_RERANK_UPSTREAM__TIMEOUT_S", "-1")
    assert "hunter2" not in refusal()


def test_credentials_of_the_address_become_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELASTICSEARCH_URL", "https://el%40stic:p%3Aw@host:9200/es")
    settings, origins = trace_settings()
    upstream = settings.upstream
    assert (upstream.url, upstream.username) == ("https://host:9200/es", "el@stic")
    assert upstream.password is not None
    assert upstream.password.get_secret_value() == "p:w"
    assert origins["upstream.password"] == "environment"
    monkeypatch.setenv("ES_RERANK_UPSTREAM__API_KEY", "key")
    upstream = load_settings().upstream
    assert (upstream.url, upstream.username) == ("https://host:9200/es", None)


def test_credentials_of_the_address_are_refused_in_the_file(write: Write) -> None:
    told = refusal(write('[upstream]\nurl = "http://me:hunter2@host:9200"\n'))
    assert "upstream.password_file" in told
    assert "hunter2" not in told


@pytest.mark.parametrize("form", ["list", "commas", "environment"])
def test_several_nodes(form: str, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = ("http://a:9200", "https://b:9201/es")
    if form == "environment":
        monkeypatch.setenv("ES_RERANK_UPSTREAM__URL", " , ".join(nodes))
        settings = load_settings()
    else:
        value = json.dumps(nodes if form == "list" else ",".join(nodes))
        settings = load_settings(write(f"[upstream]\nurl = {value}\n"))
    assert settings.upstream.urls == nodes


def test_credentials_of_several_nodes(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setenv("ES_URL", "http://me:hunter2@a:1,http://me:hunter2@b:2")
    upstream = load_settings().upstream
    assert (upstream.url, upstream.username) == ("http://a:1,http://b:2", "me")
    monkeypatch.setenv("ES_URL", "http://me:hunter2@a:1,http://you:hunter2@b:2")
    told = refusal()
    assert "names several users" in told
    assert "hunter2" not in told
    monkeypatch.delenv("ES_URL")
    told = refusal(write('[upstream]\nurl = ["http://a:1", "http://me:hunter2@b:2"]\n'))
    assert "upstream.password_file" in told


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().upstream.url = "http://x"  # type: ignore[misc]


def test_every_setting_is_listed_and_described() -> None:
    listed = dict(list_settings())
    assert all(field.description for field in listed.values())
    expected = {f"upstream.{name}" for name in UpstreamSettings.model_fields}
    expected |= {f"model.{name}" for name in ModelSettings.model_fields}
    expected |= {"rerank.diversify.diversity", "indices.NAME.diversity", "proxy.port"}
    assert expected <= listed.keys()
    defaults = {".".join(path) for path, _ in flatten(Settings().model_dump(exclude_none=True))}
    assert defaults <= listed.keys()


NESTED = st.recursive(
    st.dictionaries(st.text("abc", min_size=1, max_size=2), st.integers(), max_size=3),
    lambda values: st.dictionaries(st.text("abc", min_size=1, max_size=2), values, max_size=3),
)


@given(NESTED)
def test_flatten_and_put_are_inverse(values: dict[str, object]) -> None:
    built: dict[str, object] = {}
    leaves = list(flatten(values))
    for path, value in leaves:
        put(built, path, value)
    assert list(flatten(built)) == leaves


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40))
def test_any_text_in_a_file_is_read_or_explained(write: Write, text: str) -> None:
    try:
        load_settings(write(text))
    except ConfigError as error:
        assert str(error)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20))
def test_any_value_in_the_environment_is_read_or_explained(value: str) -> None:
    for name in ("UPSTREAM", "UPSTREAM__URL", "INDICES__A", "RERANK__TEXT_FIELDS"):
        variable = f"ES_RERANK_{name}"
        os.environ[variable] = value
        try:
            load_settings()
        except ConfigError as error:
            assert str(error)
        finally:
            del os.environ[variable]


@pytest.mark.parametrize(
    ("tables", "complaint"),
    [
        ({"model": {"kind": "remote"}}, "set model.url"),
        ({"rerank": {"rank_window_size": 5000}}, "above max_rank_window_size"),
        ({"rerank": {"timeout_ms": 100_000}}, "above max_timeout_ms"),
    ],
)
def test_settings_that_cannot_work_together_are_refused(
    tables: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load_settings(None, tables)


def test_several_rerankers_are_a_list_or_parted_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = ["http://a:8080", "http://b:8080"]
    for written in (urls, " http://a:8080 , http://b:8080,"):
        settings = load_settings(None, {"model": {"kind": "remote", "url": written}})
        assert settings.model.urls == tuple(urls)
    monkeypatch.setenv("ES_RERANK_MODEL__URL", "http://user:hunter2@a:8080/rerank")
    with pytest.raises(ConfigError, match=r"url holds credentials.*ES_RERANK_MODEL__API_KEY") as e:
        load_settings(None, {"model": {"kind": "remote"}})
    assert "hunter2" not in str(e.value)
    with pytest.raises(ConfigError, match=r"set model\.url"):
        load_settings(None, {"model": {"kind": "remote", "url": " , "}})
