from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from es_rerank.cluster.fields import find_fields, merge_fields
from es_rerank.cluster.verdict import Verdict, merge_verdicts, read_verdict

VERDICT = Verdict(
    "does-not-help", "nDCG@10", 56, -0.01, -0.03, 0.004, "m", "2026-11-25T10:00:00+00:00", "0.1"
)


def mapping(verdict: Any) -> dict[str, Any]:
    return {"properties": {}, "_meta": {"other": 1, "es_rerank": {"verdict": verdict}}}


def test_a_verdict_is_read_with_the_fields() -> None:
    assert find_fields(mapping(asdict(VERDICT))).verdict == VERDICT
    assert find_fields({"properties": {}}).verdict is None


@pytest.mark.parametrize(
    "broken",
    [
        "no",
        {},
        {**asdict(VERDICT), "finding": "off"},
        {**asdict(VERDICT), "model": None},
        {**asdict(VERDICT), "low": "x"},
        {key: value for key, value in asdict(VERDICT).items() if key != "measure"},
    ],
)
def test_what_cannot_be_read_is_no_verdict(broken: Any) -> None:
    assert read_verdict({"verdict": broken}) is None


def test_what_later_versions_add_does_no_harm() -> None:
    assert read_verdict({"verdict": {**asdict(VERDICT), "by": "somebody"}}) == VERDICT


def test_several_indices_must_agree() -> None:
    later = replace(VERDICT, queries=99)
    assert merge_verdicts([VERDICT, later]) == VERDICT
    assert merge_verdicts([VERDICT, None]) is None
    assert merge_verdicts([VERDICT, replace(VERDICT, finding="helps")]) is None
    assert merge_verdicts([VERDICT, replace(VERDICT, model="other")]) is None
    assert merge_verdicts([]) is None
    both = merge_fields([find_fields(mapping(asdict(v))) for v in (VERDICT, later)])
    assert both.verdict == VERDICT
