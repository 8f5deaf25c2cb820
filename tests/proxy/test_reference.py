"""docs/reference/proxy.md names every metric, reason, header, page and request key there is."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from es_rerank.config import Expansion
from es_rerank.proxy.admin import pages
from es_rerank.proxy.scoring import fallback, job
from es_rerank.proxy.search import (
    async_search,
    coding,
    handler,
    msearch,
    ndjson,
    obstacle,
    options,
    plan,
    request,
    rerank,
    template,
    turn,
    vectors,
)
from es_rerank.proxy.search.dialects import elasticsearch, opensearch
from es_rerank.proxy.search.expand import expander, knn, synonyms
from es_rerank.proxy.wire import failure
from es_rerank.ranking import pipeline
from es_rerank.telemetry import METRICS

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "proxy.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([^`\s{]+)(?:\{[^`]*\})?`", PAGE))

REASON_PATTERNS = {
    handler: [
        r'\["([a-z-]+)"\] if plan',
        r'skipped\("([a-z-]+)"',
        r'_fall_back\([^)]*"([a-z-]+)"\)',
    ],
    plan: [r'LeftAlone\("([a-z-]+)"', r'else "([a-z-]+)"', r'reason or "([a-z-]+)"'],
    rerank: [
        r'UnusableAnswerError\("([a-z_-]+)"\)',
        r'reason = "([a-z-]+)"',
        r'"skipped", "([a-z-]+)"',
    ],
    request: [r'BodyError\("([a-z-]+)"\)'],
    msearch: [
        r'skipped\("([a-z-]+)"',
        r'LeftAlone\("([a-z-]+)"\)',
        r'BodyError\("([a-z_-]+)"\)',
        r'_fall_back\([^)]*"([a-z-]+)"\)',
        r'UnusableAnswerError\("([a-z-]+)"\)',
    ],
    template: [
        r'NotRenderedError\("([a-z-]+)"\)',
        r'skipped\("([a-z-]+)"',
        r'BodyError\("([a-z-]+)"\)',
    ],
    async_search: [
        r'LeftAlone\("([a-z_-]+)"',
        r'_fall_back\([^)]*"([a-z-]+)"\)',
        r'UnusableAnswerError\("([a-z-]+)"\)',
    ],
    ndjson: [r'BodyError\("([a-z-]+)"\)'],
    coding: [r'BodyError\("([a-z-]+)"\)'],
    vectors.find_vectors: [r'return "([a-z-]+)"'],
    obstacle.find_obstacle: [r'return "([a-z_0-9-]+)"'],
    knn: [r'NotExpandedError\("([a-z-]+)"\)', r'refuse_oddities\(.*"([a-z-]+)"\)'],
    expander: [r'NotExpandedError\("([a-z-]+)"\)', r'notes\.append\("([a-z-]+)"\)'],
    synonyms: [r'NotExpandedError\("([a-z-]+)"\)', r'refuse_oddities\(.*"([a-z-]+)"\)'],
    fallback: [r'FALLBACK_MODEL = "([a-z-]+)"'],
    job: [r'BREAKER_OPEN = "([a-z-]+)"'],
    pipeline: [r'notes\.append\("([a-z-]+)"\)'],
}


def reasons() -> set[str]:
    found = {*obstacle.FOREIGN_KEYS, *obstacle.FOREIGN_PARAMETERS, *vectors.VECTOR_KEYS}
    found = {f"{name}-deadline" for name in ("knn", "synonyms")}
    found |= {f"{name}-failed" for name in get_args(Expansion)}
    for place, patterns in REASON_PATTERNS.items():
        source = inspect.getsource(place)  # type: ignore[arg-type]
        for pattern in patterns:
            matches = re.findall(pattern, source)
            assert matches, f"{pattern} finds nothing: it no longer fits the code"
            found.update(matches)
    return found


def test_every_reason_is_explained() -> None:
    assert len(reasons()) > 25
    assert reasons() - NAMED == set()


def test_every_header_of_ours_is_explained() -> None:
    for header in (handler.MARK, turn.ITEMS_MARK):
        assert f"`{header.decode()}" in PAGE.lower()


@pytest.mark.parametrize("dialect", [opensearch, elasticsearch])
def test_every_key_of_a_dialect_is_explained(dialect: ModuleType) -> None:
    section = PAGE.split("## Dialects")[1].split("\n## ")[0]
    source = inspect.getsource(dialect)
    keys = set(re.findall(r'block\.(?!take|end)\w+\("(\w+)"', source)) - {"_name"}
    assert len(keys) >= 3
    assert {key for key in keys if not re.search(rf"\b{key}[`.:]", section)} == set()


def test_every_metric_is_explained() -> None:
    names = {
        metric.name + ("_total" if metric.type == "counter" else "") for metric in METRICS.collect()
    }
    assert len(names) >= 9
    assert names - NAMED == set()
    assert {name for name in NAMED if name.startswith("es_rerank_")} - names == set()


@pytest.mark.parametrize(
    "block",
    [options.RequestBlock, options.WeightsBlock, options.CapBlock, options.KernelBlock],
)
def test_every_key_is_explained(block: type[options.Block]) -> None:
    section = PAGE.split("## `ext.es_rerank`")[1].split("\n## ")[0]
    for key in block.model_fields:
        assert f"`{key}`" in section or f'"{key}"' in section


def test_no_key_is_invented() -> None:
    section = PAGE.split("## `ext.es_rerank`")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", section, re.M)) == set(
        options.RequestBlock.model_fields
    )


def test_every_page_is_explained() -> None:
    assert {f"{pages.PREFIX}{page}" for page in pages.METHODS} <= NAMED


def test_every_failure_of_the_cluster_is_explained() -> None:
    section = PAGE.split("## The cluster")[1].split("\n## ")[0]
    told = set(re.findall(r"^\| (\d+) \| `(\w+)` \|", section, re.M))
    kinds = failure.UpstreamError.__subclasses__()
    assert told == {(str(kind.status), kind.kind) for kind in kinds}
    assert len(told) == 4
