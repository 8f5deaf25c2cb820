"""Graded judgments from the ground truth, never from matching text.

3: everything the query asks; 2: the need is met, a nice-to-have is missing; 1: a substitute, or
the right thing described in another language; 0: a look-alike, written down as a hard negative.
Anything else is unjudged, which stands for 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from es_rerank.demo.catalogue.products import Product
from es_rerank.demo.catalogue.queries import Condition, Intent, QuerySpec, as_list

Grades = dict[str, int]


def judge(query: QuerySpec, products: Iterable[Product]) -> tuple[Grades, dict[str, Grades]]:
    """Grades by document, and by intent and document; a document takes its best intent's grade."""
    best: Grades = {}
    by_intent: dict[str, Grades] = {intent.id: {} for intent in query.intents}
    for product in products:
        for intent in query.intents:
            grade = judge_intent(intent, product, query.language)
            if grade is None:
                continue
            best[product.id] = max(best.get(product.id, 0), grade)
            by_intent[intent.id][product.id] = grade
    return best, by_intent


def judge_intent(intent: Intent, product: Product, language: str) -> int | None:
    """The grade of one product for one intent; None where nobody would have judged it."""
    grade = None
    if satisfies(product, intent.want):
        grade = 3 if satisfies(product, intent.nice) else 2
    elif any(satisfies(product, other) for other in intent.related):
        grade = 1
    elif any(satisfies(product, other) for other in intent.hard):
        return 0 if product.family.language == language else None
    if grade is not None and product.family.language != language:
        return 1 if grade >= 2 else None
    return grade


def satisfies(product: Product, condition: Condition) -> bool:
    """Whether every entry of the condition holds."""
    return all(_holds(product, name, wanted) for name, wanted in condition.items())


def _holds(product: Product, name: str, wanted: Any) -> bool:
    family, document = product.family, product.document
    if name == "type":
        return family.kind.key in as_list(wanted)
    if name == "department":
        return family.kind.department in as_list(wanted)
    if name == "use":
        if not wanted:  # the facet intent of products without a special use
            return not family.uses
        return any(use in family.uses for use in as_list(wanted))
    if name == "colour":
        return product.colour in as_list(wanted)
    if name == "fits":
        return any(wanted in model for model in document["compatibility"])
    if name == "bulk":
        return len(document["bulk_prices"]) >= int(wanted)
    stem, operator = (name[:-2], name[-2:]) if name.endswith(("<=", ">=")) else (name, "")
    value = family.attributes.get(stem, document.get(stem))
    if value is None:
        return False
    if operator == "<=":
        return bool(value <= wanted)
    if operator == ">=":
        return bool(value >= wanted)
    return value in as_list(wanted)


def render_qrels(judged: Sequence[tuple[str, Grades]]) -> str:
    """TREC form: `query 0 document grade`."""
    return "".join(
        f"{query} 0 {document} {grade}\n"
        for query, grades in judged
        for document, grade in grades.items()
    )


def render_intent_qrels(judged: Sequence[tuple[str, dict[str, Grades]]]) -> str:
    """TREC diversity form: `query intent document grade`."""
    return "".join(
        f"{query} {intent} {document} {grade}\n"
        for query, intents in judged
        for intent, grades in intents.items()
        for document, grade in grades.items()
    )
