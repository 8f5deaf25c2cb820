"""Settings: flag > `ES_RERANK_*` environment > TOML file > default.

Every setting is a field in one of the modules here, a class for each table, with its meaning in
the description; docs/configuration.md is made from them. Secrets come by environment or from a
`*_file`, never from the TOML file.
"""

from es_rerank.config.model import EnrichSettings, ModelSettings
from es_rerank.config.proxy import (
    AdminSettings,
    PipelinesSettings,
    ProxySettings,
    ReviewSettings,
)
from es_rerank.config.reading import (
    API_KEY_FALLBACKS,
    DEFAULT_FILE,
    SECRETS,
    URL_FALLBACKS,
    flatten,
    load_settings,
    put,
    trace_settings,
)
from es_rerank.config.rerank import (
    BreakerSettings,
    DiversifySettings,
    Expansion,
    IndexSettings,
    RerankSettings,
    read_expansions,
)
from es_rerank.config.score_cache import ScoreCacheSettings
from es_rerank.config.scorer import ScorerSettings
from es_rerank.config.section import Section
from es_rerank.config.settings import (
    ENV_DELIMITER,
    ENV_PREFIX,
    Settings,
    TelemetrySettings,
    list_settings,
)
from es_rerank.config.upstream import SourceSettings, UpstreamSettings

__all__ = [
    "API_KEY_FALLBACKS",
    "DEFAULT_FILE",
    "ENV_DELIMITER",
    "ENV_PREFIX",
    "SECRETS",
    "URL_FALLBACKS",
    "AdminSettings",
    "BreakerSettings",
    "DiversifySettings",
    "EnrichSettings",
    "Expansion",
    "IndexSettings",
    "ModelSettings",
    "PipelinesSettings",
    "ProxySettings",
    "RerankSettings",
    "ReviewSettings",
    "ScoreCacheSettings",
    "ScorerSettings",
    "Section",
    "Settings",
    "SourceSettings",
    "TelemetrySettings",
    "UpstreamSettings",
    "flatten",
    "list_settings",
    "load_settings",
    "put",
    "read_expansions",
    "trace_settings",
]
