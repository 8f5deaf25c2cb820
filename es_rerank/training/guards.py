"""Guards against over-fitting and reward hacking: what the card must own up to.

Leakage is an error. How much better the model does on what it has seen, and what a product gains by
quoting the query, are told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from es_rerank.errors import DataError
from es_rerank.training.dataset import Dataset
from es_rerank.training.groups import Group
from es_rerank.training.judged import make_key
from es_rerank.training.recipe import Recipe
from es_rerank.training.reranking import mix_groups, ndcg_by_group

Logits = NDArray[np.float64]
NEAR = 0.8
"""Overlap of two queries' words (Jaccard) from which they ask nearly the same."""


def check_leakage(data: Dataset) -> dict[str, str]:
    """What training and testing have in common. Raises DataError for a query in both."""
    seen = {make_key(group.query) for group in data.train}
    asked = {make_key(group.query): group.query for group in data.held}
    if both := sorted(asked[key] for key in seen & asked.keys()):
        raise DataError(
            f"{len(both)} held-out queries were trained on as well, {both[0]!r} first: what is "
            "measured by them would be memory. Leave them out of the judgments or the catalogues"
        )
    index = index_words(seen)
    near = sum(has_near(key.split(), index) for key in asked)
    shown = {int(row) for group in data.train for row in group.rows}
    rows = [int(row) for group in data.held for row in group.rows]
    known = sum(row in shown for row in rows) / max(len(rows), 1)
    return {
        "held-out queries also trained on": f"0 of {len(asked)}, {near} nearly so",
        "their products, seen under other queries": f"{known:.0%}",
    }


def index_words(keys: set[str]) -> Mapping[str, list[frozenset[str]]]:
    """Queries' words, by each word."""
    found = defaultdict(list)
    for key in sorted(keys):
        words = frozenset(key.split())
        for word in words:
            found[word].append(words)
    return found


def has_near(words: Sequence[str], index: Mapping[str, list[frozenset[str]]]) -> bool:
    """Whether a query in the index has nearly the same words."""
    own = frozenset(words)
    return any(
        len(own & other) >= NEAR * len(own | other) for word in own for other in index.get(word, ())
    )


def measure_fit(
    data: Dataset, read: Callable[[Group], Logits], held: Sequence[Logits], share: float
) -> dict[str, str]:
    """The gain over the cosine on queries trained on, as many as are held out, and on those.

    held: logits of the held-out windows. A gain that is far larger on what was trained on is
    learnt by heart.
    """
    step = max(len(data.train) // max(len(data.held), 1), 1)
    some = data.train[::step][: len(data.held)]
    told = []
    for groups, logits in ((some, [read(group) for group in some]), (data.held, held)):
        plain = ndcg_by_group(groups, [group.cosines for group in groups]).mean()
        own = ndcg_by_group(groups, mix_groups(groups, logits, share)).mean()
        told.append(f"{own - plain:+.3f} (from {plain:.3f})")
    return {"gain of nDCG@10 on what was trained on, held out": ", ".join(told)}


def measure_stuffing(
    groups: Sequence[Group],
    read: Callable[[Group, Sequence[int]], tuple[Logits, Any]],
    logits: Sequence[Logits],
) -> dict[str, str]:
    """What `count_gained` finds, on average."""
    gained = count_gained(groups, read, logits)
    if not gained:
        return {}
    places = np.mean([len(own) for own in logits])
    told = f"{np.mean(gained):.1f} of {places:.0f}"
    return {"places that a bad product gains by quoting the query": told}


def count_gained(
    groups: Sequence[Group],
    read: Callable[[Group, Sequence[int]], tuple[Logits, Any]],
    logits: Sequence[Logits],
) -> list[int]:
    """How far up the logit takes a window's last bad product whose text is made to quote the query;
    a number for each window that has a bad one.

    Keyword stuffing is the cheapest attack on a reader of texts.
    """
    gained = []
    for group, before in zip(groups, logits, strict=True):
        bad = np.flatnonzero(group.grades == 0.0)
        if len(bad):
            worst = int(bad[before[bad].argmin()])
            after = read(group, [worst])[0]
            ahead = int((before > before[worst]).sum())
            gained.append(ahead - int((after > after[worst]).sum()))
    return gained


def tell_regularisation(recipe: Recipe, steps: int, done: int) -> dict[str, str]:
    """What held the model back. steps: at which the kept weights were; done: trained in all."""
    plan, wish = recipe.schedule, recipe.adapter
    early = "" if done >= plan.steps else f", stopped early after {done}"
    held_back = [f"weight decay {plan.weight_decay:g}", f"averaged weights {plan.average:g}"]
    if wish.method in {"lora", "adalora"}:
        held_back.insert(0, f"dropout {wish.dropout:g}")
    return {
        "weights kept": f"of step {steps} of {plan.steps}{early}",
        "held back by": ", ".join(held_back),
    }


def measure_change(adapter: Mapping[str, Tensor], plain: Mapping[str, Tensor]) -> dict[str, str]:
    """How far training took the backbone's matrices: the norm of the change by their own.

    adapter: as a manifest names it. plain: the backbone's parameters.
    """
    moved = stood = 0.0
    for name, values in adapter.items():
        path, _, part = name.rpartition(".")
        if part not in {"a", "delta"}:
            continue
        change = values.float()
        if part == "a":
            change = adapter[f"{path}.b"].float() @ change
        moved += float(torch.linalg.vector_norm(change)) ** 2
        stood += float(torch.linalg.vector_norm(plain[path].detach())) ** 2
    if not stood:
        return {}
    return {"adapted matrices moved by": f"{(moved / stood) ** 0.5:.1%} of their norm"}
