"""Wishes, their grades, and the groups made of them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from es_rerank.training.catalogue import Product, load_catalogue
from es_rerank.training.grading import KIN, MISSED, PERFECT, Judge, judge_type, near_duplicates
from es_rerank.training.groups import Finder
from es_rerank.training.negatives import WordIndex, index_vectors
from es_rerank.training.wishes import Shelf, Wish, make_wishes, split_wishes
from es_rerank.training.words import Words, bag, load_words, misspell, pluralise

PLAIN = Words({"running shoes": ("jogging shoes",)}, {"shoes": ("running shoes",)}, {})


@pytest.fixture(scope="module")
def shelf(products: list[Product]) -> Shelf:
    return Shelf(products, PLAIN)


@pytest.fixture(scope="module")
def finder(shelf: Shelf) -> Finder:
    rows = np.random.default_rng(1).normal(size=(len(shelf.products), 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Finder(shelf, Judge(shelf), WordIndex(shelf.products), index_vectors(rows))


def find(shelf: Shelf, kind: str, brand: str, colour: str) -> Product:
    return next(
        p
        for p in shelf.products
        if (p.type, p.brand, p.attributes["colour"]) == (kind, brand, (colour,))
    )


def test_wishes_are_seeded_and_never_repeat(shelf: Shelf) -> None:
    wishes = make_wishes(shelf, 80, 4)
    assert wishes == make_wishes(shelf, 80, 4)
    assert wishes != make_wishes(shelf, 80, 5)
    assert len({wish.text.casefold() for wish in wishes}) == len(wishes)
    assert {"type", "brand type", "attribute", "title", "brand"} <= {w.kind for w in wishes}


def test_the_split_shares_no_topic_and_no_held_type(shelf: Shelf) -> None:
    inside, held = split_wishes(make_wishes(shelf, 150, 4), 0.2, 1)
    topics = {wish.topic for wish in held}
    assert inside
    assert held
    assert topics.isdisjoint(wish.topic for wish in inside)
    assert not any(wish.types & topics for wish in inside)


def test_a_topics_side_is_the_same_in_every_catalogue(shelf: Shelf) -> None:
    wishes = make_wishes(shelf, 150, 4)
    _, held = split_wishes(wishes, 0.3, 1)
    topics = {wish.topic for wish in held}
    _, again = split_wishes(wishes[::3], 0.3, 1)
    assert {wish.topic for wish in again} == topics & {wish.topic for wish in wishes[::3]}
    assert topics != {wish.topic for wish in split_wishes(wishes, 0.3, 2)[1]}


SAME = """
import hashlib, random
import numpy as np
from es_rerank.training.catalogue import load_catalogue
from es_rerank.training.grading import Judge
from es_rerank.training.groups import Finder
from es_rerank.training.negatives import WordIndex, index_vectors
from es_rerank.training.wishes import Shelf, make_wishes, split_wishes
products = load_catalogue(None)
shelf = Shelf(products)
rows = np.random.default_rng(1).normal(size=(len(products), 8)).astype(np.float32)
finder = Finder(shelf, Judge(shelf), WordIndex(products), index_vectors(rows))
wishes, held = split_wishes(make_wishes(shelf, 300, 1), 0.1, 1)
hashed, chance = hashlib.sha256(), random.Random(1)
for wish in wishes[:120]:
    group = finder.gather(wish, rows[0], 12, chance)
    if group is not None:
        hashed.update(wish.text.encode() + group.rows.tobytes() + group.grades.tobytes())
        hashed.update(bytes(group.slate))
print(len(held), hashed.hexdigest())
"""


def test_the_same_labels_come_out_in_every_process() -> None:
    """Sets have another order in each: whatever is drawn from one must be sorted before."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SAME],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    one, other = (process.communicate(timeout=120)[0] for process in started)
    assert [process.returncode for process in started] == [0, 0]
    assert one == other


def test_the_table_knows_types_of_the_sample_shop() -> None:
    words = load_words()
    kinds = {product.type for product in load_catalogue(None)}
    assert "notebook" in words.same["laptop"]
    assert len(kinds & words.same.keys()) > 40
    assert all(words.same[kind] and kind not in words.same[kind] for kind in words.same)


def test_grades_follow_what_is_wished(shelf: Shelf) -> None:
    judge = Judge(shelf)
    types = frozenset({"running shoes"})
    wish = Wish("red acme jogging shoes", "attribute", "running shoes", types, "jogging shoes",
                "acme", {"colour": "red"})  # fmt: skip
    assert judge.grade(wish, find(shelf, "running shoes", "Acme", "red")) == PERFECT
    assert judge.grade(wish, find(shelf, "running shoes", "Bolt", "red")) == MISSED
    assert judge.grade(wish, find(shelf, "running shoes", "Bolt", "blue")) == pytest.approx(0.25)
    assert judge.grade(wish, find(shelf, "garden gnome", "Acme", "red")) == 0.0


def test_what_the_catalogue_does_not_tell_is_left_out(shelf: Shelf) -> None:
    guessed = Product("g", "a sturdy thing", "a sturdy thing", "Acme", "running shoes", False, {})
    other = Product("h", "patch cable", "patch cable", None, "wire", True, {})
    kin = Product("k", "audio cable", "audio cable", None, "audio cable", True, {})
    case = Product("c", "Notebook case", "Notebook case", None, "notebook case", True, {})
    assert judge_type(frozenset({"running shoes"}), guessed) is None
    assert judge_type(frozenset({"networking cable"}), other, "patch cable") is None
    assert judge_type(frozenset({"networking cable"}), kin, "patch cable") == KIN
    assert judge_type(frozenset({"notebook"}), case, "notebook") == 0.0
    wish = Wish("red wire", "attribute", "wire", frozenset({"wire"}), "wire",
                attributes={"colour": "red"})  # fmt: skip
    assert Judge(shelf).grade(wish, other) is None


def test_groups_hold_good_and_bad_and_a_slate_that_covers(finder: Finder) -> None:
    wish = Wish("running shoes", "type", "running shoes", frozenset({"running shoes"}),
                "running shoes")  # fmt: skip
    vector = finder.by_vectors.vectors[0]
    group = finder.gather(wish, vector, 10, random.Random(2))
    assert group is not None
    assert len(set(group.rows.tolist())) == len(group.rows) == 10
    assert {0.0, 3.0} <= set(group.grades.tolist())
    assert group.cosines == pytest.approx(finder.by_vectors.vectors[group.rows] @ vector)
    brands = [finder.shelf.products[group.rows[i]].brand for i in group.slate]
    assert len(group.slate) >= 2
    assert all(group.grades[i] >= 2 for i in group.slate)
    assert Counter(brands).most_common(1)[0][1] < len(brands)


def test_variants_are_near_duplicates(shelf: Shelf) -> None:
    one = find(shelf, "running shoes", "Acme", "red")
    assert not near_duplicates(one, find(shelf, "garden gnome", "Acme", "red"))
    twin = Product("x", one.title, one.text, one.brand, one.type, True, {})
    assert near_duplicates(one, twin)


def test_words_rank_what_holds_the_rare_ones_first(shelf: Shelf) -> None:
    index = WordIndex(shelf.products)
    best = index.search("corax blue gnome", 5)
    first = shelf.products[best[0]]
    assert (first.brand, first.type, first.attributes["colour"]) == (
        "Corax",
        "garden gnome",
        ("blue",),
    )
    assert len(index.search("nothing of this", 5)) == 0 or index.score("zzz").max() == 0


def test_typos_change_one_long_word() -> None:
    chance = random.Random(1)
    for _ in range(50):
        slip = misspell("usb keyboard", chance)
        assert slip.split()[0] == "usb"
        assert abs(len(slip) - len("usb keyboard")) <= 1
    assert misspell("tv", chance) == "tv"
    assert [pluralise(w) for w in ("mouse", "battery", "box", "shoes")] == [
        "mouses",
        "batteries",
        "boxes",
        "shoes",
    ]
    assert bag("Running Shoes") == bag("running shoe")
