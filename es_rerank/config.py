"""Settings: flag > `ES_RERANK_*` environment > TOML file > default.

Every setting is a field below, with its meaning in the description; docs/configuration.md is made
from them. Secrets come by environment or from a `*_file`, never from the TOML file.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from es_rerank.errors import ConfigError

DEFAULT_FILE = Path("es-rerank.toml")
ENV_PREFIX = "ES_RERANK_"
ENV_DELIMITER = "__"
URL_FALLBACKS = ("ELASTICSEARCH_URL", "ES_URL", "OPENSEARCH_URL")
API_KEY_FALLBACKS = ("ELASTIC_API_KEY", "ES_API_KEY")
SECRETS = (
    *(("upstream", "password"), ("upstream", "api_key"), ("model", "api_key")),
    ("admin", "token"),
)
CREDENTIALS = re.compile(r"(?<=://)[^/?#]*@")
"""`user:password@` in an address."""


Expansion = Literal["knn", "spelling", "synonyms"]
"""What adds candidates that the words alone do not find."""


def read_expansions(value: Any) -> Any:
    """One expansion as a list of one, `none` as a list of none."""
    if isinstance(value, str):
        return [] if value == "none" else [value]
    return value


class Section(BaseModel):
    """A table of the TOML file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class UpstreamSettings(Section):
    url: str = Field(
        "http://localhost:9200",
        description="Address of the cluster, or of several nodes: a list, or parted by commas.",
    )
    username: str | None = Field(None, description="User of our own calls to the cluster.")
    password: SecretStr | None = Field(None, description="Password; environment only.")
    password_file: Path | None = Field(None, description="File that holds the password.")
    api_key: SecretStr | None = Field(None, description="API key; environment only.")
    api_key_file: Path | None = Field(None, description="File that holds the API key.")
    ca_certs: Path | None = Field(None, description="PEM file of the authorities to trust.")
    verify: bool = Field(True, description="Check the cluster's certificate.")
    client_cert: Path | None = Field(
        None, description="PEM file of our own certificate, where the cluster asks for one."
    )
    client_key: Path | None = Field(
        None, description="PEM file of its key; not needed when client_cert holds it too."
    )
    timeout_s: float = Field(
        60.0, gt=0, description="Seconds to wait for the first byte of the cluster's answer."
    )
    stall_timeout_s: float | None = Field(
        None, gt=0, description="Seconds between two pieces of an answer; as timeout_s if unset."
    )
    connect_timeout_s: float = Field(5.0, gt=0, description="Seconds to wait for a connection.")
    connections: int = Field(256, ge=1, description="Connections to the cluster at most.")
    keep_alive_s: float = Field(
        30.0, ge=0, description="Seconds that a connection may rest before it is not used again."
    )
    check_nodes: Literal["out", "always"] = Field(
        "out", description="Check the nodes that are out, or always all of them."
    )
    check_interval_s: float = Field(
        5.0, gt=0, description="Seconds between two checks of a node at most."
    )

    rewrite_nodes: bool = Field(
        False, description="Answer GET /_nodes with our address, for clients that sniff."
    )

    @field_validator("url", mode="before")
    @classmethod
    def _join(cls, value: Any) -> Any:
        return ",".join(value) if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _key_has_certificate(self) -> UpstreamSettings:
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("client_key is of no use without client_cert: set that too")
        return self

    @property
    def urls(self) -> tuple[str, ...]:
        """The nodes' addresses, one by one."""
        return tuple(url for part in self.url.split(",") if (url := part.strip()))


class ProxySettings(Section):
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(9400, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_address: str | None = Field(
        None,
        description="host:port that clients know us by, for upstream.rewrite_nodes; by default "
        "what they write in Host.",
    )
    max_search_bytes: int = Field(
        2_000_000, ge=1024, description="A larger search body passes through unranked."
    )
    max_answer_bytes: int = Field(
        50_000_000, ge=1024, description="A larger search answer passes through unranked."
    )
    compare: bool = Field(True, description="Serve the compare page.")
    workers: int = Field(
        1,
        ge=1,
        description="Processes that serve; several share one scorer process where the model is "
        "local.",
    )
    drain_s: float = Field(
        30.0, ge=0, description="Seconds that requests under way have left when the proxy ends."
    )
    tls_cert: Path | None = Field(
        None, description="PEM file of the proxy's certificate and its chain; with it, TLS alone."
    )
    tls_key: Path | None = Field(None, description="PEM file of the certificate's key.")
    tls_client_ca: Path | None = Field(
        None, description="PEM file of authorities; clients must show a certificate of theirs."
    )
    connections: int | None = Field(
        None,
        ge=1,
        description="Clients' connections at most; from the limit of open files if unset.",
    )
    max_line_bytes: int = Field(
        16_384, ge=1024, description="A longer request line (method and target) is refused."
    )
    max_head_bytes: int = Field(
        65_536, ge=1024, description="A request whose head is larger is refused."
    )
    max_headers: int = Field(256, ge=8, description="A request with more headers is refused.")
    head_timeout_s: float = Field(
        30.0, gt=0, description="Seconds from a request head's first byte to its last."
    )
    body_timeout_s: float = Field(
        60.0, gt=0, description="Seconds between two pieces of a request's body."
    )
    send_timeout_s: float = Field(
        60.0, gt=0, description="Seconds that a client may read nothing of its answer."
    )
    idle_timeout_s: float = Field(
        75.0, gt=0, description="Seconds that a client's connection may rest between requests."
    )

    @model_validator(mode="after")
    def _certificate_and_key(self) -> ProxySettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together: set both, or neither")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca needs TLS: set tls_cert and tls_key")
        return self


class AdminSettings(Section):
    host: str = Field("127.0.0.1", description="Address to listen on where [admin] port is set.")
    port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of their own for the admin routes; unset, the proxy's port serves them.",
    )
    token: SecretStr | None = Field(
        None,
        min_length=1,
        description="What admin routes but live and ready ask for; environment only.",
    )
    token_file: Path | None = Field(None, description="File that holds the token.")


class PipelinesSettings(Section):
    index: str = Field(
        "es-rerank-pipelines",
        pattern=r"^[a-z0-9.][a-z0-9._-]{0,200}$",
        description="Index of the cluster that keeps the named pipelines.",
    )
    poll_s: float = Field(
        3.0,
        ge=0,
        description="Seconds between two looks for changed pipelines; 0 never looks.",
    )


class DiversifySettings(Section):
    method: str = Field("dpp", description="dpp, or the name of a diversifier plugin.")
    diversity: float = Field(
        0.05, ge=0, le=1, description="0 is pure relevance, 1 pure variety (t = 1 - diversity)."
    )
    vector_weight: float = Field(0.5, ge=0, description="Share of cosine in the similarity.")
    attribute_weight: float = Field(
        0.5, ge=0, description="Share of attribute agreement in the similarity."
    )


class BreakerSettings(Section):
    failures: int = Field(
        5,
        ge=0,
        description="So many failures of the model, at least half of the searches in the window, "
        "and searches go without it for a while; 0 never.",
    )
    window_s: float = Field(10.0, gt=0, description="Seconds that are looked back at.")
    open_s: float = Field(
        5.0, gt=0, description="Seconds until the model is tried again; doubled while it fails."
    )


class RerankSettings(Section):
    enabled: bool = Field(True, description="Rerank searches; off, everything passes through.")
    pipeline: str | None = Field(
        None, description="Named pipeline of searches that choose none themselves."
    )
    rank_window_size: int = Field(100, ge=1, le=10_000, description="How many hits are ranked.")
    max_rank_window_size: int = Field(
        1000, ge=1, le=10_000, description="The most that a request may ask for."
    )
    timeout_ms: int = Field(
        500, ge=1, description="Milliseconds for ranking; then the engine's order goes back."
    )
    max_timeout_ms: int = Field(60_000, ge=1, description="The most that a request may ask for.")
    max_waiting: int = Field(
        32, ge=1, description="Searches waiting for the model; more keep the engine's order."
    )
    order_cache_s: float = Field(
        60.0,
        ge=0,
        description="Seconds that a list's order is kept, so that its pages agree; 0 keeps none.",
    )
    two_phases: bool = Field(
        False,
        description="Highlight and run script fields for the page alone, by a second search.",
    )
    vector_queries: bool = Field(
        False,
        description="Rerank vector searches too; k, num_candidates and the like are raised to W.",
    )
    dialects: tuple[Literal["opensearch", "elasticsearch"], ...] = Field(
        (),
        description="Reranking asked for as these do, which is then done here: opensearch is "
        "ext.rerank and ext.mmr, elasticsearch the retrievers text_similarity_reranker and "
        "diversify.",
    )
    max_batch: int = Field(
        100, ge=1, description="Searches of one _msearch that are ranked; more are left alone."
    )
    stuck_s: float = Field(
        10.0,
        gt=0,
        description="A model that is over a search's time by so many seconds is taken for stuck "
        "and started anew.",
    )
    relevance_weight: float = Field(0.5, ge=0, description="Weight of the model's score.")
    first_stage_weight: float = Field(0.5, ge=0, description="Weight of the engine's score.")
    text_fields: tuple[str, ...] = Field(
        (), description="Fields the model reads; found from the mapping when empty."
    )
    attribute_fields: tuple[str, ...] = Field(
        (), description="Fields that make hits alike; found from the mapping when empty."
    )
    price_field: str | None = Field(None, description="Price field; found when not given.")
    signals: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, description="Weight of each plugin's signal, by the plugin's name."
    )
    expand: tuple[Expansion, ...] = Field(
        (), description="What adds candidates that the words do not find: knn, spelling, synonyms."
    )
    expand_on_request: tuple[Expansion, ...] = Field(
        (), description="What a request may ask for as well, by its own `expand`."
    )
    spelling_below: int = Field(
        3, ge=1, description="Searches with fewer hits than this have their spelling looked at."
    )
    diversify: DiversifySettings = Field(default_factory=DiversifySettings)
    breaker: BreakerSettings = Field(default_factory=BreakerSettings)

    _read_expand = field_validator("expand", "expand_on_request", mode="before")(read_expansions)

    @model_validator(mode="after")
    def _within_maximum(self) -> RerankSettings:
        for name in ("rank_window_size", "timeout_ms"):
            value, maximum = getattr(self, name), getattr(self, f"max_{name}")
            if value > maximum:
                raise ValueError(
                    f"{name} = {value} is above max_{name} = {maximum}: raise that too"
                )
        return self


class IndexSettings(Section):
    """Settings of the indices whose name matches; what is not given follows [rerank]."""

    enabled: bool | None = Field(None, description="Rerank searches of this index.")
    pipeline: str | None = Field(None, description="As in [rerank]; '_none' for none.")
    rank_window_size: int | None = Field(None, ge=1, le=10_000, description="As in [rerank].")
    vector_queries: bool | None = Field(None, description="As in [rerank].")
    diversity: float | None = Field(None, ge=0, le=1, description="As in [rerank.diversify].")
    text_fields: tuple[str, ...] = Field((), description="As in [rerank].")
    attribute_fields: tuple[str, ...] = Field((), description="As in [rerank].")
    price_field: str | None = Field(None, description="As in [rerank].")
    expand: tuple[Expansion, ...] | None = Field(None, description="As in [rerank].")

    _read_expand = field_validator("expand", mode="before")(read_expansions)


class ModelSettings(Section):
    kind: Literal["bi-encoder", "cross-encoder", "remote", "lexical", "plugin"] = Field(
        "bi-encoder",
        description="What scores: vectors, a cross-encoder, a /rerank server, words in common "
        "without a model, or the plugin that model.name names.",
    )
    name: str = Field("all-MiniLM-L6-v2", description="Hub id or folder of the model.")
    url: str | None = Field(None, description="Address of the /rerank server of kind remote.")
    api_key: SecretStr | None = Field(None, description="Its API key; environment only.")
    api_key_file: Path | None = Field(None, description="File that holds its API key.")
    embedder: str = Field("all-MiniLM-L6-v2", description="Hub id or folder of the embedder.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps.")
    threads: int | None = Field(None, ge=1, description="CPU threads of the model; all if unset.")

    @model_validator(mode="after")
    def _remote_has_url(self) -> ModelSettings:
        if self.kind == "remote" and self.url is None:
            raise ValueError("kind = 'remote' needs the server's address: set model.url")
        return self


class EnrichSettings(Section):
    enrichers: tuple[str, ...] = Field(
        (), description="Enricher plugins that reindex runs after its own steps, in order."
    )


class TelemetrySettings(Section):
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="How much is logged on stderr."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto is console on a terminal, JSON elsewhere."
    )
    access_log: bool = Field(False, description="Log a line for each request.")
    slow_search_ms: int = Field(
        0, ge=0, description="Log searches that take at least so many milliseconds; 0 logs none."
    )
    log_query_text: bool = Field(
        False, description="Show the shopper's words in the lines on searches."
    )
    tracing: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Send OpenTelemetry spans; auto: where OTEL_* names where to, and the extra "
        "otel is installed.",
    )


class Settings(BaseSettings):
    """All settings, checked."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
    )

    upstream: UpstreamSettings = Field(default_factory=UpstreamSettings)
    proxy: ProxySettings = Field(default_factory=ProxySettings)
    rerank: RerankSettings = Field(default_factory=RerankSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    enrich: EnrichSettings = Field(default_factory=EnrichSettings)
    pipelines: PipelinesSettings = Field(default_factory=PipelinesSettings)
    admin: AdminSettings = Field(default_factory=AdminSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    indices: dict[str, IndexSettings] = Field(
        default_factory=dict, description="By index name or pattern, such as 'products-*'."
    )
    plugins: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Options that a plugin is made with, by its name."
    )


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


def describe(error: ValidationError, origins: Mapping[str, str]) -> str:
    """Say of each wrong setting what is wrong with it, where it stands, and the nearest name."""
    lines = []
    for problem in error.errors():
        path = [str(part) for part in problem["loc"]]
        dotted = ".".join(path)
        where = name_origin(path, origins)
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(path[-1], known_keys(path[:-1]), n=1)
            hint = f"; did you mean {'.'.join([*path[:-1], near[0]])}?" if near else ""
            lines.append(f"{dotted}{where}: there is no such setting{hint}")
        else:
            lines.append(f"{dotted}{where}: {problem['msg']}")
    return "wrong settings:\n  " + "\n  ".join(lines)


def name_origin(path: list[str], origins: Mapping[str, str]) -> str:
    """Say where the setting stands that `path` is, lies in or holds; empty when nobody set it."""
    dotted = ".".join(path)
    for key, origin in origins.items():
        if f"{dotted}.".startswith(f"{key}.") or f"{key}.".startswith(f"{dotted}."):
            return f" (from {origin})"
    return ""


def known_keys(path: list[str]) -> list[str]:
    """The names a table may hold."""
    model: type[BaseModel] = Settings
    for part in path:
        if model is Settings and part == "indices":
            return list(IndexSettings.model_fields)
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def list_settings(model: type[BaseModel] = Settings, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting's dotted key with its pydantic field, for documentation and `config`."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        dotted = f"{path}{name}"
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from list_settings(annotation, f"{dotted}.")
        elif name == "indices":
            yield from list_settings(IndexSettings, "indices.NAME.")
        elif name == "plugins":
            yield "plugins.NAME", field
        else:
            yield dotted, field
