"""Where settings come from: flag > `ES_RERANK_*` environment > TOML file > default."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote

from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource, SettingsError

from es_rerank.config.rerank import IndexSettings
from es_rerank.config.settings import ENV_DELIMITER, ENV_PREFIX, Settings
from es_rerank.errors import ConfigError

DEFAULT_FILE = Path("es-rerank.toml")
URL_FALLBACKS = ("ELASTICSEARCH_URL", "ES_URL", "OPENSEARCH_URL")
API_KEY_FALLBACKS = ("ELASTIC_API_KEY", "ES_API_KEY")
SECRETS = (
    *(("upstream", "password"), ("upstream", "api_key"), ("model", "api_key")),
    *(("admin", "token"), ("score_cache", "redis_password"), ("scorer", "token")),
    *(("source", "password"), ("source", "api_key")),
)
CREDENTIALS = re.compile(r"(?<=://)[^/?#]*@")
"""`user:password@` in an address."""


Nested = Mapping[str, Any]


def load_settings(config_file: Path | None = None, overrides: Nested | None = None) -> Settings:
    """Read and check the settings. `overrides` are the flags, nested like the TOML file.

    Raises ConfigError, naming each wrong setting and where it came from.
    """
    return trace_settings(config_file, overrides)[0]


def trace_settings(
    config_file: Path | None = None, overrides: Nested | None = None
) -> tuple[Settings, dict[str, str]]:
    """Read the settings, and say of each dotted key where its value came from."""
    file = config_file or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    sources: list[tuple[str, Nested]] = [
        ("flag", overrides or {}),
        ("environment", read_environment()),
    ]
    if file is not None:
        sources.append((str(file), read_file(file)))
    named = {path for _, values in sources for path, _ in flatten(values)}
    sources.append(("environment", read_fallbacks(named)))
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, values in reversed(sources):
        for path, value in flatten(values):
            put(merged, path, value)
            origins[".".join(path)] = origin
    read_secret_files(merged, origins)
    split_credentials(merged, origins)
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(describe(error, origins)) from None
    return settings, origins


def read_environment() -> dict[str, Any]:
    """Read `ES_RERANK_*`. Raises ConfigError for a section that is none, and for broken JSON."""
    for name in os.environ:
        section, delimiter, key = name.upper().removeprefix(ENV_PREFIX).partition(ENV_DELIMITER)
        ours = name.upper().startswith(ENV_PREFIX) and delimiter
        if ours and section.lower() not in Settings.model_fields:
            near = difflib.get_close_matches(section.lower(), Settings.model_fields, n=1)
            hint = f"; did you mean {ENV_PREFIX}{near[0].upper()}{delimiter}{key}?" if near else ""
            raise ConfigError(f"{name}: there is no such setting{hint}")
    try:
        return EnvSettingsSource(Settings)()
    except SettingsError as error:
        raise ConfigError(
            f"{error}: lists and tables in the environment are written as JSON, such as "
            f"""{ENV_PREFIX}RERANK__TEXT_FIELDS='["title", "body"]' ({error.__cause__})"""
        ) from None


def read_file(file: Path) -> dict[str, Any]:
    """Read a TOML file. Raises ConfigError when it is absent, broken, or holds a secret."""
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file {file}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} cannot be read as TOML: {error}") from None
    for section in values.keys() & Settings.model_fields.keys():
        if not isinstance(values[section], dict):
            raise ConfigError(f"{file}: {section} is a table: write its settings below [{section}]")
    for section, key in SECRETS:
        if key in values.get(section, {}):
            raise ConfigError(
                f"{file}: {section}.{key} is a secret and must not stand in this file: set "
                f"ES_RERANK_{section.upper()}__{key.upper()}, or {section}.{key}_file"
            )
    if CREDENTIALS.search(str(values.get("upstream", {}).get("url"))):
        raise ConfigError(
            f"{file}: upstream.url holds credentials, which must not stand in this file: set "
            "upstream.username and upstream.password_file, or ES_RERANK_UPSTREAM__PASSWORD"
        )
    return values


def read_fallbacks(named: Collection[tuple[str, ...]]) -> dict[str, Any]:
    """Read the variables that Elasticsearch's and OpenSearch's own tools know.

    `named` are the settings given elsewhere: an API key is not taken when its file is among them.
    """
    found: dict[str, Any] = {}
    for names, key in ((URL_FALLBACKS, "url"), (API_KEY_FALLBACKS, "api_key")):
        if ("upstream", f"{key}_file") in named:
            continue
        for name in names:
            if os.environ.get(name):
                found.setdefault("upstream", {}).setdefault(key, os.environ[name])
    return found


def read_secret_files(values: dict[str, Any], origins: dict[str, str]) -> None:
    """Put the content of each `*_file` where its secret belongs, unless that is set itself."""
    for section, key in SECRETS:
        table = values.get(section)
        file = table.get(f"{key}_file") if isinstance(table, dict) else None
        if not isinstance(table, dict) or not file or table.get(key):
            continue
        try:
            table[key] = Path(file).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, TypeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{section}.{key}_file cannot be read: {error}") from None
        origins[f"{section}.{key}"] = str(file)


def split_credentials(values: dict[str, Any], origins: dict[str, str]) -> None:
    """Move `user:password@` out of the cluster's address, where it would be lent to every client.

    Credentials that are set by themselves go before those of the address.
    """
    table = values.get("upstream")
    url = table.get("url") if isinstance(table, dict) else None
    if isinstance(url, list) and all(isinstance(part, str) for part in url):
        url = ",".join(url)
    if not isinstance(table, dict) or not isinstance(url, str):
        return
    found = sorted(set(CREDENTIALS.findall(url)))
    if not found:
        return
    if len(found) > 1:
        raise ConfigError(
            "upstream.url names several users: give all nodes one, by upstream.username and "
            "ES_RERANK_UPSTREAM__PASSWORD"
        )
    table["url"] = CREDENTIALS.sub("", url)
    if table.keys().isdisjoint({"username", "password", "api_key"}):
        user, _, password = found[0][:-1].partition(":")
        table.update(username=unquote(user), password=unquote(password))
        origins["upstream.username"] = origins["upstream.password"] = origins["upstream.url"]


def flatten(values: Nested, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each leaf with its path; None counts as not given."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, (*path, key))
        elif value is not None:
            yield (*path, key), value


def put(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set a nested value; a table takes the place of what is none."""
    for key in path[:-1]:
        if not isinstance(values.get(key), dict):
            values[key] = {}
        values = values[key]
    values[path[-1]] = value


def describe(
    error: ValidationError,
    origins: Mapping[str, str],
    root: type[BaseModel] = Settings,
    what: str = "setting",
) -> str:
    """Say of each wrong setting what is wrong with it, where it stands, and the nearest name."""
    lines = []
    for problem in error.errors():
        path = [str(part) for part in problem["loc"]]
        dotted = ".".join(path)
        where = name_origin(path, origins)
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(path[-1], known_keys(path[:-1], root), n=1)
            hint = f"; did you mean {'.'.join([*path[:-1], near[0]])}?" if near else ""
            lines.append(f"{dotted}{where}: there is no such {what}{hint}")
        else:
            lines.append(f"{dotted}{where}: {problem['msg']}")
    return f"wrong {what}s:\n  " + "\n  ".join(lines)


def name_origin(path: list[str], origins: Mapping[str, str]) -> str:
    """Say where the setting stands that `path` is, lies in or holds; empty when nobody set it."""
    dotted = ".".join(path)
    for key, origin in origins.items():
        if f"{dotted}.".startswith(f"{key}.") or f"{key}.".startswith(f"{dotted}."):
            return f" (from {origin})"
    return ""


def known_keys(path: list[str], root: type[BaseModel] = Settings) -> list[str]:
    """The names a table may hold."""
    model = root
    for part in path:
        if model is Settings and part == "indices":
            return list(IndexSettings.model_fields)
        if model is not root and part not in model.model_fields:
            continue  # a place in a list of tables, or the name of one
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        tables = [
            kind
            for kind in (annotation, *get_args(annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        if not tables:
            return []
        model = tables[0]
    return list(model.model_fields)
