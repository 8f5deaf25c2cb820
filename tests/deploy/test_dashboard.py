"""The dashboard names metrics that exist, and is one that Grafana takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from es_rerank.telemetry import METRICS

FILE = Path(__file__).parents[2] / "deploy" / "grafana" / "es-rerank.json"
BOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}


def expressions() -> list[str]:
    return [target["expr"] for panel in PANELS for target in panel["targets"]]


def test_every_metric_it_names_exists_with_its_labels() -> None:
    known: dict[str, set[str]] = {}
    for metric in METRICS.collect():
        family = METRICS._names_to_collectors[metric.name]
        labels = set(getattr(family, "_labelnames", ()))
        for suffix in SUFFIXES[metric.type]:
            known[metric.name + suffix] = labels | {"job", "instance", "le"}
    assert len(known) > 10
    for expression in expressions():
        for name, selector in re.findall(r"(es_rerank_\w+)(?:\{([^}]*)\})?", expression):
            assert name in known, name
            assert set(re.findall(r"(\w+)=~?\"", selector)) <= known[name]
        (name,) = set(re.findall(r"es_rerank_\w+", expression))
        for grouped in re.findall(r"by \(([^)]*)\)", expression):
            assert set(grouped.split(", ")) <= known[name], expression


def test_what_operators_look_for_is_there() -> None:
    asked = " ".join(expressions())
    for name in (
        *("requests_total", "fallbacks_total", "skips_total", "request_duration_seconds_bucket"),
        *("stage_duration_seconds_bucket", "score_queue_depth", "inflight_requests"),
        *("candidates_bucket", "model_ready", "upstream_reachable", "cache_lookups_total"),
    ):
        assert f"es_rerank_{name}" in asked


def test_panels_have_ids_places_and_the_chosen_source() -> None:
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in PANELS:
        assert panel["title"]
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(s == {"type": "prometheus", "uid": "${datasource}"} for s in sources)
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)


@pytest.mark.parametrize("name", ["datasource", "job", "instance"])
def test_the_variables_that_are_used_exist(name: str) -> None:
    variables = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    assert name in variables
    assert variables["datasource"]["type"] == "datasource"
    used = set(re.findall(r"\$(?!__)\{?(\w+)", json.dumps(BOARD)))
    assert used == set(variables)


def test_it_is_one_board_that_can_be_imported() -> None:
    assert (BOARD["uid"], BOARD["title"]) == ("es-rerank", "es-rerank")
    assert BOARD["schemaVersion"] >= 36
    assert BOARD.get("id") is None
