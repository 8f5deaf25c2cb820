"""An edge of the graph, and the patch that a document gets of its edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

VARIANT = "variant_of"
SIMILAR = "similar_to"
ACCESSORY = "accessory_of"
COMPATIBLE = "compatible_with"
GOES_WITH = "goes_with"
BOUGHT_WITH = "bought_with"
PREDICATES = (VARIANT, SIMILAR, ACCESSORY, COMPATIBLE, GOES_WITH, BOUGHT_WITH)
"""All lead to a product by its id, but for COMPATIBLE, which names what the catalogue lacks."""


@dataclass(frozen=True)
class Edge:
    """A triple's predicate and object, why it holds, and how sure that is, 0 to 1."""

    predicate: str
    object: str
    confidence: float
    reason: str


def make_patch(
    *,
    kind: str,
    synonyms: Sequence[str],
    brand: str,
    family: str | None,
    attributes: Sequence[str],
    edges: Sequence[Edge],
) -> dict[str, Any]:
    """What stands under `es_rerank.graph`; what is empty is left out.

    synonyms: what else the type is called.
    family: the id that stands for all variants. attributes: `name: value unit`.
    """
    patch: dict[str, Any] = {
        "type": kind,
        "synonyms": list(synonyms),
        "brand": brand,
        "family": family,
        "attributes": list(attributes),
    }
    for predicate in PREDICATES:
        patch[predicate] = [edge.object for edge in edges if edge.predicate == predicate]
    patch["edges"] = [
        {
            "predicate": edge.predicate,
            "object": edge.object,
            "confidence": round(edge.confidence, 2),
            "reason": edge.reason,
        }
        for edge in edges
    ]
    return {name: value for name, value in patch.items() if value}
