"""Weak labels from the sample catalogue, whose grades follow from how its products were made."""

from __future__ import annotations

import random

import numpy as np

from es_rerank.demo.sample import load_products, load_qrels, load_queries
from es_rerank.models.compact.labels import LabelledList

SIZE = 20
SEED = 7


def make_labels(size: int = SIZE, seed: int = SEED) -> list[LabelledList]:
    """A list for each judged query: products of every grade, filled up with others, graded 0."""
    chance = random.Random(seed)
    products = {row["id"]: row for row in load_products(with_reviews=False)}
    others = list(products)
    qrels = load_qrels()
    lists = []
    for query in load_queries():
        grades = qrels.get(query.text if query.text in qrels else query.id, {})
        known = list(grades)
        chance.shuffle(known)
        chosen = known[: size * 3 // 4]
        while len(chosen) < size:
            other = chance.choice(others)
            if other not in grades and other not in chosen:
                chosen.append(other)
        chance.shuffle(chosen)
        texts = tuple(f"{products[i]['title']}. {products[i]['description']}" for i in chosen)
        gains = np.array([float(grades.get(i, 0)) for i in chosen])
        lists.append(LabelledList(query.text, texts, gains))
    return [each for each in lists if each.tells]
