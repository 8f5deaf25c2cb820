"""From catalogues to groups ready to train on: wishes, their candidates, token ids."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from es_rerank.enrich.safety.rules import WORD_LISTS, shipped_rules
from es_rerank.errors import DataError
from es_rerank.models.embedder import Embedder
from es_rerank.training.catalogue import Product, load_catalogue
from es_rerank.training.grading import Judge
from es_rerank.training.groups import Finder, Group
from es_rerank.training.judged import Ratings, check_judged, leave_out, load_ratings, make_judged
from es_rerank.training.negatives import WordIndex, index_vectors
from es_rerank.training.recipe import Judged, Labels
from es_rerank.training.wishes import Shelf, Wish, make_wishes, split_wishes

PART = 2000
Say = Callable[[str], None]


@dataclass(frozen=True)
class Dataset:
    """texts: (n,) of all catalogues. owners: (n,) a number per brand. train: groups in the order
    they are used. held: validation windows, of topics that `train` never asks for. vectors: (n, d)
    unit rows of the texts."""

    texts: Sequence[str]
    owners: NDArray[np.int64]
    train: Sequence[Group]
    held: Sequence[Group]
    vectors: NDArray[np.float32]

    @cached_property
    def harmful(self) -> NDArray[np.bool_]:
        """(n,) which texts have toxic or biased words, by the lists that generated ones go by."""
        rules = shipped_rules()
        return np.array(
            [any(rule.kind in WORD_LISTS for rule, _ in rules.broken(t, None)) for t in self.texts],
            np.bool_,
        )


def build(
    catalogues: Sequence[str],
    labels: Labels,
    seed: int,
    embedder: Embedder,
    cache: Path,
    say: Say,
    judged: Judged | None = None,
) -> Dataset:
    """Make the groups. seed: their order. Vectors of the products are kept in `cache`. judged:
    judgments of one's own beside the weak labels, or instead of them.

    Raises DataError.
    """
    judged = judged or Judged()
    own = load_ratings(judged, labels.seed) if judged.files else Ratings({}, {})
    chance = random.Random(labels.seed)
    texts: list[str] = []
    brands: list[str] = []
    parts: list[NDArray[np.float32]] = []
    train: list[Group] = []
    held: list[Group] = []
    learnt = tested = 0
    for name in catalogues:
        products = load_catalogue(None if name == "sample" else Path(name))
        vectors = embed_products(products, embedder, cache, say)
        for_train = make_judged(own.train, products, vectors, embedder, labels.group, chance)
        for_held = make_judged(own.held, products, vectors, embedder, labels.group, None)
        learnt, tested = learnt + len(for_train), tested + len(for_held)
        if not judged.alone:
            share = labels.validation // len(catalogues) + 1
            weak = make_weak(name, products, vectors, embedder, labels, share, say)
            for_train, for_held = for_train * judged.repeat + weak[0], for_held + weak[1]
        train += shift(for_train, len(texts))
        held += shift(for_held, len(texts))
        texts += [product.text for product in products]
        parts.append(vectors)
        brands += [product.brand or f"?{i}" for i, product in enumerate(products)]
    if judged.files:
        check_judged(judged, learnt, tested)
        say(f"{learnt} + {tested} groups of judgments")
        train = leave_out(train, own.held)
    held = leave_out(held, dict.fromkeys(group.query for group in train))
    if not train or not held:
        raise DataError(
            "the catalogue gives no weak labels: products need a title and a type or category"
        )
    random.Random(seed).shuffle(train)
    numbers = {brand: i for i, brand in enumerate(dict.fromkeys(brands))}
    owners = np.array([numbers[b] for b in brands])
    return Dataset(texts, owners, train, held, np.concatenate(parts))


def make_weak(
    name: str,
    products: Sequence[Product],
    vectors: NDArray[np.float32],
    embedder: Embedder,
    labels: Labels,
    most: int,
    say: Say,
) -> tuple[list[Group], list[Group]]:
    """A catalogue's weak groups, and at most so many windows of topics held out."""
    shelf = Shelf(products)
    wishes = make_wishes(shelf, labels.wishes, labels.seed)
    apart = split_wishes(wishes, labels.held_out, labels.seed)
    say(f"{name}: {len(products)} products, {len(apart[0])} + {len(apart[1])} weak queries")
    finder = Finder(shelf, Judge(shelf), WordIndex(products), index_vectors(vectors))
    few = balance(apart[1], most)
    return make_groups(finder, apart[0], embedder, labels), make_windows(
        finder, few, embedder, labels
    )


def embed_products(
    products: Sequence[Product], embedder: Embedder, cache: Path, say: Say
) -> NDArray[np.float32]:
    """The products' plain vectors, (n, d); from the cache where the texts are the same."""
    import hashlib

    digest = hashlib.sha256("\n".join(p.text for p in products).encode()).hexdigest()[:16]
    path = cache / f"vectors-{digest}.npy"
    if path.is_file():
        kept: NDArray[np.float32] = np.load(path)
        return kept
    parts = []
    for start in range(0, len(products), PART):
        say(f"Embedding {start} of {len(products)} products ...")
        parts.append(embedder.encode([p.text for p in products[start : start + PART]]))
    vectors = np.concatenate(parts)
    cache.mkdir(parents=True, exist_ok=True)
    np.save(path, vectors)
    return vectors


def make_groups(
    finder: Finder, wishes: Sequence[Wish], embedder: Embedder, labels: Labels
) -> list[Group]:
    """A group for each wish that has one."""
    vectors = embedder.encode([wish.text for wish in wishes])
    chance = random.Random(labels.seed)
    made = (
        finder.gather(wish, vector, labels.group, chance)
        for wish, vector in zip(wishes, vectors, strict=True)
    )
    return [group for group in made if group is not None]


def make_windows(
    finder: Finder, wishes: Sequence[Wish], embedder: Embedder, labels: Labels
) -> list[Group]:
    """A window for each wish that has one."""
    vectors = embedder.encode([wish.text for wish in wishes])
    made = (
        finder.window(wish, vector, labels.window)
        for wish, vector in zip(wishes, vectors, strict=True)
    )
    return [group for group in made if group is not None]


def balance(wishes: Sequence[Wish], count: int) -> list[Wish]:
    """At most `count` wishes, every kind in turn."""
    by_kind: dict[str, list[Wish]] = {}
    for wish in wishes:
        by_kind.setdefault(wish.kind, []).append(wish)
    longest = max(map(len, by_kind.values()), default=0)
    rounds = [wish for i in range(longest) for kind in by_kind.values() for wish in kind[i : i + 1]]
    return rounds[:count]


def shift(groups: Sequence[Group], by: int) -> list[Group]:
    """The groups with their products counted from `by` on."""
    return [replace(group, rows=group.rows + by) for group in groups]
