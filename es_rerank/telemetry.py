"""Logs and metrics. Query text and credentials are never logged."""

from __future__ import annotations

import logging
import sys

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

from es_rerank import __version__

METRICS = CollectorRegistry()

REQUESTS = Counter(
    "es_rerank_requests",
    "Requests by route (search, msearch, relay, admin) and outcome.",
    ["route", "outcome"],
    registry=METRICS,
)
REQUEST_SECONDS = Histogram(
    "es_rerank_request_duration_seconds",
    "Time from request to answer, by route.",
    ["route"],
    registry=METRICS,
)
STAGE_SECONDS = Histogram(
    "es_rerank_stage_duration_seconds",
    "Time of a search's stages: upstream, score, diversify, order-cache, rerank (all that comes "
    "after upstream), show.",
    ["stage"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
    registry=METRICS,
)
CANDIDATES = Histogram(
    "es_rerank_candidates",
    "Hits in the rank window.",
    buckets=(1, 10, 25, 50, 100, 200, 500, 1000),
    registry=METRICS,
)
FALLBACKS = Counter(
    "es_rerank_fallbacks",
    "Searches answered in the engine's order although ranking was wanted, by reason.",
    ["reason"],
    registry=METRICS,
)
PARTLY_SCORED = Counter(
    "es_rerank_partly_scored_searches",
    "Searches for whose window the model had not the time to read all texts.",
    registry=METRICS,
)
ORDER_CACHE = Counter(
    "es_rerank_order_cache",
    "Windows whose list had an order already (hit), had none (miss), or is not kept (bypass).",
    ["result"],
    registry=METRICS,
)
REFUSED = Counter(
    "es_rerank_refused_requests",
    "Requests refused before anybody saw them, by the status they were answered with.",
    ["status"],
    registry=METRICS,
)
SKIPS = Counter(
    "es_rerank_skips",
    "Searches that went through in the engine's order because that was what was asked for, "
    "by reason.",
    ["reason"],
    registry=METRICS,
)
SLOW_SEARCHES = Counter(
    "es_rerank_slow_searches",
    "Searches that took at least telemetry.slow_search_ms.",
    registry=METRICS,
)
PIPELINES = Gauge(
    "es_rerank_pipelines",
    "Named pipelines known here.",
    registry=METRICS,
    multiprocess_mode="livemin",
)
PIPELINE_READS = Counter(
    "es_rerank_pipeline_reads",
    "Looks for changed pipelines, by outcome (same, changed, error).",
    ["outcome"],
    registry=METRICS,
)
MODEL_READY = Gauge(
    "es_rerank_model_ready",
    "1 when the model is loaded.",
    registry=METRICS,
    multiprocess_mode="livemin",
)
UPSTREAM_REACHABLE = Gauge(
    "es_rerank_upstream_reachable",
    "1 when the cluster answered the last readiness probe.",
    registry=METRICS,
    multiprocess_mode="livemin",
)
WAITING = Gauge(
    "es_rerank_score_queue_depth",
    "Searches waiting for or in the model.",
    registry=METRICS,
    multiprocess_mode="livesum",
)
SCORE_BATCH = Histogram(
    "es_rerank_score_batch_size",
    "Texts in one call of the model.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
    registry=METRICS,
)
SCORE_SEARCHES = Histogram(
    "es_rerank_score_batch_searches",
    "Searches that share one call of the model.",
    buckets=(1, 2, 4, 8, 16, 32),
    registry=METRICS,
)
SCORE_SPEED = Gauge(
    "es_rerank_score_tokens_per_second",
    "How fast the model reads, as its latest calls have shown; of about four bytes each.",
    registry=METRICS,
    multiprocess_mode="livemax",
)
CACHE_LOOKUPS = Counter(
    "es_rerank_cache_lookups",
    "Texts looked up in a cache (score, redis, vector, token), by result (hit, miss, error).",
    ["cache", "result"],
    registry=METRICS,
)
CACHE_BYTES = Gauge(
    "es_rerank_cache_bytes",
    "About how many bytes a cache takes.",
    ["cache"],
    registry=METRICS,
    multiprocess_mode="livesum",
)
UPSTREAM_REPEATS = Counter(
    "es_rerank_upstream_repeats",
    "Requests sent again: a kept connection was stale, or another node had to answer.",
    ["reason"],
    registry=METRICS,
)
UPSTREAM_NODES = Gauge(
    "es_rerank_upstream_nodes",
    "Nodes of the cluster, by state.",
    ["state"],
    registry=METRICS,
    multiprocess_mode="livemin",
)
BREAKER = Gauge(
    "es_rerank_breaker_state",
    "Workers whose circuit breaker is in that state: closed, half-open or open.",
    ["state"],
    registry=METRICS,
    multiprocess_mode="livesum",
)
REMOTE_REQUESTS = Counter(
    "es_rerank_remote_requests",
    "Requests to a reranker elsewhere, by what came of them: ok, busy, late, unreachable, "
    "too-many, refused.",
    ["outcome"],
    registry=METRICS,
)
REMOTE_SECONDS = Histogram(
    "es_rerank_remote_request_duration_seconds",
    "Time of requests to a reranker elsewhere that were answered with scores.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
    registry=METRICS,
)
RESTARTS = Counter(
    "es_rerank_restarts",
    "What was stuck or had died and was started again: thread, scorer, worker.",
    ["part"],
    registry=METRICS,
)
INFLIGHT = Gauge(
    "es_rerank_inflight_requests",
    "Requests being answered.",
    registry=METRICS,
    multiprocess_mode="livesum",
)
MODEL_INFO = Gauge(
    "es_rerank_model_info",
    "The model in use.",
    ["model", "kind", "device"],
    registry=METRICS,
    multiprocess_mode="livemax",
)
BUILD_INFO = Gauge(
    "es_rerank_build_info",
    "The version that runs.",
    ["version"],
    registry=METRICS,
    multiprocess_mode="livemax",
)
BUILD_INFO.labels(__version__).set(1)


def count_lookups(cache: str, hits: int, misses: int) -> None:
    """Count texts that were looked up in a cache."""
    for result, n in (("hit", hits), ("miss", misses)):
        if n:
            CACHE_LOOKUPS.labels(cache, result).inc(n)


def write_metrics() -> bytes:
    """The metrics in Prometheus' text form, those of all workers added up.

    Several processes keep them in the folder that PROMETHEUS_MULTIPROC_DIR names.
    """
    if not values.ValueClass._multiprocess:
        return generate_latest(METRICS)
    everywhere = CollectorRegistry()
    MultiProcessCollector(everywhere)  # type: ignore[no-untyped-call]
    return generate_latest(everywhere)


def configure_logging(level: str = "info", form: str = "auto") -> None:
    """Log to stderr: readable on a terminal, one JSON object a line elsewhere."""
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        # A line is one write: several workers share stderr, and their lines must not mingle.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """The project's logger."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger("es_rerank")
    return logger
