"""Why each hit stands where it does, as an engine-shaped explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from es_rerank.proxy.search.window import read_score
from es_rerank.ranking.blend import share_blend
from es_rerank.ranking.explain import Line, explain_course
from es_rerank.ranking.pipeline import Ranking, RankingOptions


def explain_places(
    ranking: Ranking, hits: Sequence[Mapping[str, msgspec.Raw]], options: RankingOptions
) -> dict[int, dict[str, Any]]:
    """Explain each hit of the window, by engine position; ranks count from 1.

    What is said to add up to the blended score does, and the rank by the engine with the places
    moved makes the rank.
    """
    moves = {} if ranking.course is None else explain_course(ranking.course)
    first = np.array([read_score(hits[i]) for i in range(len(ranking.order))])
    weighted = [(signal.name, weight) for signal, weight in options.signals]
    shares = share_blend(
        first,
        ranking.relevance,
        options.weights,
        [(name, ranking.signals[name], weight) for name, weight in weighted],
    )
    explanations = {}
    for place, position in enumerate(int(i) for i in ranking.order):
        parts = [
            Line(float(share[position]), f"of which {name}")
            for name, share in shares.items()
            if share[position]
        ]
        lines = [
            Line(float(first[position]), "first-stage score of this hit"),
            Line(float(ranking.blended[position]), "blended score, 0 to 1", parts),
        ]
        if ranking.relevance is not None and np.isfinite(ranking.relevance[position]):
            lines.append(Line(float(ranking.relevance[position]), "relevance by the model"))
        lines += [
            Line(float(scores[position]), f"signal {name}")
            for name, scores in ranking.signals.items()
            if np.isfinite(scores[position])
        ]
        explanations[position] = {
            "description": f"es-rerank: rank {place + 1}, was {position + 1}; "
            "the value is the engine's score of this place",
            "details": [write_line(line) for line in [*lines, *moves.get(position, ())]],
        }
    return explanations


def write_line(line: Line) -> dict[str, Any]:
    """A line as the engine writes one."""
    details = [write_line(part) for part in line.parts]
    return {"value": line.value, "description": line.text, "details": details}
