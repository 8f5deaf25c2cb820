"""Why each hit stands where it does, as an engine-shaped explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from es_rerank.proxy.search.window import read_score
from es_rerank.ranking.pipeline import Ranking


def explain_places(
    ranking: Ranking, hits: Sequence[Mapping[str, msgspec.Raw]]
) -> dict[int, dict[str, Any]]:
    """Explain each hit of the window, by engine position; ranks count from 1."""
    explanations = {}
    for place, position in enumerate(int(i) for i in ranking.order):
        details = [
            detail("first-stage score of this hit", read_score(hits[position])),
            detail("blended score, 0 to 1", float(ranking.blended[position])),
        ]
        if ranking.relevance is not None and np.isfinite(ranking.relevance[position]):
            details.append(detail("relevance by the model", float(ranking.relevance[position])))
        details += [
            detail(f"signal {name}", float(scores[position]))
            for name, scores in ranking.signals.items()
            if np.isfinite(scores[position])
        ]
        explanations[position] = {
            "description": f"es-rerank: rank {place + 1}, was {position + 1}; "
            "the value is the engine's score of this place",
            "details": details,
        }
    return explanations


def detail(description: str, value: float) -> dict[str, Any]:
    """One line of an explanation."""
    return {"value": value, "description": description, "details": []}
