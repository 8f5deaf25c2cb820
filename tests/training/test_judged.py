"""Training on judgments of one's own: groups, parted by query, mixed or alone."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from es_rerank.cli.main import cli
from es_rerank.errors import DataError
from es_rerank.models.embedder import load_embedder
from es_rerank.models.manifest import read_manifest
from es_rerank.models.reranker import load_reranker
from es_rerank.training.catalogue import Product
from es_rerank.training.dataset import Dataset, build
from es_rerank.training.judged import (
    KIND,
    choose_held,
    leave_out,
    load_ratings,
    make_judged,
    make_key,
)
from es_rerank.training.recipe import Judged, Labels
from es_rerank.training.reranker import train_reranker
from tests.training.conftest import BRANDS, COLOURS, TYPES, make_recipe

QUERIES = [f"{colour} {kind}" for colour in COLOURS for kind in TYPES]


@pytest.fixture(scope="module")
def judgments(products: list[Product], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every product judged for every colour and type: 3 for both, 1 for the type, else 0."""
    lines = ["query,docid,rating"]
    for query in QUERIES:
        colour, _, kind = query.partition(" ")
        for product in products:
            right = (product.type == kind) * (3 if colour in product.title else 1)
            lines.append(f"{query},{product.id},{right}")
    path = tmp_path_factory.mktemp("judged") / "judgments.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def make_data(backbone: Path, shop: Path, cache: Path, judged: Judged) -> Dataset:
    labels = Labels(wishes=60, group=6, held_out=0.2, validation=8, window=8)
    embedder = load_embedder(str(backbone), "cpu")
    return build([str(shop)], labels, 1, embedder, cache, lambda _: None, judged)


def test_queries_are_parted_not_pairs(judgments: Path) -> None:
    ratings = load_ratings(Judged(files=(str(judgments),), held_out=0.25), 1)
    assert len(ratings.held) == 3
    assert set(ratings.train) | set(ratings.held) == set(QUERIES)
    assert set(ratings.train).isdisjoint(ratings.held)
    other = load_ratings(Judged(files=(str(judgments),), held_out=0.25), 2)
    assert set(other.held) != set(ratings.held)


def test_queries_that_say_the_same_stay_together(tmp_path: Path) -> None:
    assert make_key("Red  Shoes") == make_key("shoe, red")
    path = tmp_path / "judgments.csv"
    lines = [f"{words},p{i},{i % 4}" for i in range(40) for words in (f"hat {i}", f"{i} Hats")]
    path.write_text("query,docid,rating\n" + "\n".join(lines))
    ratings = load_ratings(Judged(files=(str(path),), held_out=0.3), 1)
    assert len(ratings.held) == 24
    assert {make_key(q) for q in ratings.held}.isdisjoint(map(make_key, ratings.train))


def test_more_queries_move_few_of_those_held_out() -> None:
    keys = [f"q{i}" for i in range(100)]
    before, after = choose_held(keys, 0.2, 1), choose_held([*keys, "new", "newer"], 0.2, 1)
    assert len(before & after) >= 18
    assert choose_held(["q"], 0.5, 1) == frozenset()


@pytest.mark.parametrize(("said", "grades"), [("100,0", [3, 0]), ("1,0.5", [3, 1.5])])
def test_the_highest_rating_counts_as_3(tmp_path: Path, said: str, grades: list[float]) -> None:
    path = tmp_path / "judgments.csv"
    one, other = said.split(",")
    path.write_text(f"query,docid,gain\nhat,a,{one}\nhat,b,{other}\n")
    ratings = load_ratings(Judged(files=(str(path),)), 1)
    assert list(ratings.train["hat"].values()) == pytest.approx(grades)


def test_qrels_find_their_words_and_weights_are_minded(tmp_path: Path) -> None:
    qrels = tmp_path / "clicks.qrels"
    qrels.write_text("q1 0 a 3\nq1 0 b 0\n")
    with pytest.raises(DataError, match=r"clicks\.qrels\.queries.*id TAB words"):
        load_ratings(Judged(files=(str(qrels),)), 1)
    (tmp_path / "clicks.qrels.queries").write_text("q1\tsun hat\n")
    assert load_ratings(Judged(files=(str(qrels),)), 1).train == {"sun hat": {"a": 3.0, "b": 0.0}}
    sure = tmp_path / "sure.csv"
    sure.write_text("query,docid,rating,weight\nhat,a,3,.9\nhat,b,1,.1\nhat,c,0,.6\n")
    assert load_ratings(Judged(files=(str(sure),)), 1).train == {"hat": {"a": 3.0, "c": 0.0}}


def test_groups_hold_what_was_judged_and_some_that_was_not(
    products: list[Product], backbone: Path
) -> None:
    embedder = load_embedder(str(backbone), "cpu")
    vectors = embedder.encode([product.text for product in products])
    ratings = {"red sun hat": {products[i].id: float(i % 4) for i in range(14)}, "x": {"gone": 3.0}}
    groups = make_judged(ratings, products, vectors, embedder, 8, random.Random(1))
    assert len(groups) == 3
    told = [
        (int(r), float(g)) for each in groups for r, g in zip(each.rows, each.grades, strict=True)
    ]
    assert {(i, float(i % 4)) for i in range(14)} <= set(told)
    assert all(grade == 0.0 for row, grade in told if row >= 14)
    for group in groups:
        assert len(group.rows) <= 8
        assert group.grades.max() >= 2.0
        assert group.kind == KIND
        query = embedder.encode(["red sun hat"])[0]
        assert group.cosines == pytest.approx(vectors[group.rows] @ query, abs=1e-5)
    (held,) = make_judged(ratings, products, vectors, embedder, 8, None)
    assert sorted(held.rows.tolist()) == list(range(14))


def test_nothing_held_out_is_trained_on(
    backbone: Path, shop_folder: Path, judgments: Path, tmp_path: Path
) -> None:
    judged = Judged(files=(str(judgments),), held_out=0.3, repeat=2)
    mixed = make_data(backbone, shop_folder, tmp_path, judged)
    held = {make_key(group.query) for group in mixed.held if group.kind == KIND}
    assert len(held) == 4
    assert held.isdisjoint(make_key(group.query) for group in mixed.train)
    kinds = {group.kind for group in mixed.train}
    assert KIND in kinds
    assert len(kinds) > 2
    alone = make_data(backbone, shop_folder, tmp_path, judged.model_copy(update={"alone": True}))
    assert {group.kind for group in [*alone.train, *alone.held]} == {KIND}
    twice = sum(group.kind == KIND for group in mixed.train)
    assert twice == 2 * len(alone.train)
    assert len(leave_out(mixed.train, {mixed.train[0].query: None})) < len(mixed.train)


def test_what_cannot_be_learnt_from_says_why(
    backbone: Path, shop_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "judgments.csv"

    def run(text: str, **others: Any) -> None:
        path.write_text(text)
        make_data(backbone, shop_folder, tmp_path, Judged(files=(str(path),), **others))

    with pytest.raises(DataError, match="rates nothing above 0"):
        run("query,docid,rating\nhat,p100,0\n")
    with pytest.raises(DataError, match="name products by their `id`"):
        run("query,docid,rating\nhat,elsewhere,3\n")
    with pytest.raises(DataError, match="too few queries"):
        run("query,docid,rating\nhat,p100,3\nhat,p101,0\n", alone=True)


def test_judgments_alone_teach_what_they_say(
    backbone: Path, shop_folder: Path, judgments: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(backbone, shop_folder, schedule={"steps": 80, "evaluate_every": 20})
    judged = Judged(files=(str(judgments),), alone=True, held_out=0.2)
    recipe = recipe.model_copy(update={"judged": judged})
    result = train_reranker(recipe, tmp_path / "run", tmp_path / "model", lambda _: None)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "on judgments (judgments.csv). Do not measure it by those." in card
    assert read_manifest(result.folder).training["recipe"]["judged"]["files"] == ["judgments.csv"]
    assert any("judged" in name for name in result.figures["ranking"])
    model = load_reranker(result.folder, "cpu")
    texts = [f"{BRANDS[0]} {kind} red. This {kind} {what}" for kind, what in TYPES.items()]
    right = [
        int(np.argmax(model.score_pairs(f"red {kind}", texts))) == i for i, kind in enumerate(TYPES)
    ]
    assert sum(right) >= 3


def test_the_command_takes_judgments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exception, match="--alone needs judgments"):
        cli.main(["train", "reranker", "--alone"], standalone_mode=False)
    capsys.readouterr()
