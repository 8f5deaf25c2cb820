"""The game against the ranking, on a shop made here, with words in common as the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.quality.adversary import (
    ATTACKS,
    FLOOD,
    HONEST,
    OFFERED,
    Game,
    make_games,
    rank_all,
    tell,
)
from es_rerank.demo.sample import Query
from es_rerank.ranking.lexical import LexicalModel, read_words
from es_rerank.training.catalogue import Product

THINGS = ("shoe", "hat", "gnome", "rack")
COLOURS = ("red", "blue", "black", "green", "white")
QUERIES = [Query(thing, f"a {thing}", (), "en", {}) for thing in THINGS]


@pytest.fixture(scope="module")
def products() -> list[Product]:
    return [
        Product(f"{c} {t}", f"{t} {c}", f"{t} {c}. For all.", f"maker of {c}", t, True, {})
        for t in THINGS
        for c in COLOURS
    ]


@pytest.fixture(scope="module")
def games(products: list[Product]) -> dict[str, list[Game]]:
    qrels = {t: {p.id: 3 for p in products if p.type == t} for t in THINGS}
    return make_games(products, QUERIES, qrels, count_words)


def count_words(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors of words known."""
    words = {word: i for i, word in enumerate((*THINGS, *COLOURS, "a", "for", "all"))}
    rows = np.full((len(texts), len(words)), 0.01, dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in read_words(text):
            if word in words:
                row[words[word]] += 1
    found: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def test_each_game_shows_the_sellers_own_products_alone(games: dict[str, list[Game]]) -> None:
    assert set(games) == {HONEST, *ATTACKS}
    for way, played in games.items():
        for query, game in zip(QUERIES, played, strict=True):
            assert game.ours.sum() == (FLOOD if way == "floods" else OFFERED)
            assert len(set(game.ids)) == len(game.ids)
            assert (np.diff(game.first_stage) <= 0).all()
            mine = [game.texts[i] for i in np.flatnonzero(game.ours).tolist()]
            if way == HONEST:
                assert not any(query.id in text for text in mine)  # what it has is wrong
            else:
                assert all(query.id in text for text in mine)


def test_stuffing_wins_by_words_and_variety_holds_back_a_flood(
    games: dict[str, list[Game]],
) -> None:
    orders = rank_all(games, {"words": LexicalModel()})
    rows = {row.what: row for name, own in orders.items() for row in tell(name, games, own)}
    place = rows["BM25, seller stuffs | place of the seller's best"]
    assert place.ours < place.theirs
    share = "seller floods | the seller's share of the first 10"
    crowded, spread = rows[f"words and BM25, {share}"], rows[f"words and BM25, DPP 0.2, {share}"]
    assert spread.ours < crowded.ours
    for order in orders["words and BM25, DPP 0.2"]["floods"]:
        assert sorted(order) == list(range(len(order)))
