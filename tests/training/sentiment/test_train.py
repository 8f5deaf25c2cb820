"""Training from end to end on a small shop's reviews: heads, resuming, the folder, the report."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from es_rerank.cli.main import cli
from es_rerank.errors import ConfigError, DataError
from es_rerank.models.sentiment.head import BLAME, NEITHER, PRAISE, spread
from es_rerank.models.sentiment.lexicon import read_opinions
from es_rerank.models.sentiment.manifest import HEAD
from es_rerank.models.sentiment.reader import identify_sentiment, load_sentiment
from es_rerank.training.sentiment.compose import compose, pool_reviews
from es_rerank.training.sentiment.deep import BEST, CHECKPOINT, score_deep, train_deep
from es_rerank.training.sentiment.recipe import Reviews, SentimentTraining, read_recipe
from es_rerank.training.sentiment.report import measure_reading, show_report
from es_rerank.training.sentiment.reviews import (
    Review,
    load_reviews,
    read_own,
    read_written,
    says_stars,
)
from es_rerank.training.sentiment.train import train_sentiment
from es_rerank.training.sentiment.words import calibrate, fit_head, score_reviews

MEASURED = Path(__file__).parents[3] / "benchmarks" / "quality" / "reviews"
WORDS = {
    ("en", 5): ("a superb {}", "the {} is red and holds many", "{} all year, zorp"),
    ("en", 1): ("a dreadful {}", "the {} fell off your face", "{} in any weather, blub"),
    ("en", 3): ("a {} of a kind",),
    ("zh", 5): ("{}很好", "这个{}真棒"),
    ("zh", 1): ("{}太差", "垃圾{}"),
    ("zh", 3): ("{}一般",),
}
THINGS = ("shoes", "hat", "gnome", "rack", "lamp", "kettle", "cup", "book", "bag", "clock")


@pytest.fixture(scope="module")
def shop_reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred reviews with stars, and lines that are none."""
    rows: list[Any] = [
        {"text": line.format(thing), "stars": stars, "language": language}
        for ((language, stars), lines), thing in itertools.product(WORDS.items(), THINGS)
        for line in lines
    ]
    rows += [{"text": "no stars"}, {"stars": 5}, {"text": "x", "stars": 11}, [], 3]
    file = tmp_path_factory.mktemp("reviews") / "reviews.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as out:
        out.write("\n".join(map(json.dumps, rows)) + "\nno json\n")
    return file


def make_recipe(file: Path, backbone: str = "", **schedule: Any) -> SentimentTraining:
    return SentimentTraining.model_validate(
        {
            "reviews": {"files": [str(file)], "shipped": False, "held_out": 0.25},
            "words": {"composed": 50},
            "deep": {"backbone": backbone, "rank": 2, "layers": 1, "max_tokens": 32},
            "schedule": {
                "steps": 8, "batch": 8, "evaluate_every": 4, "checkpoint_every": 2,
                "learning_rate": 0.01, **schedule,
            },
        }
    )  # fmt: skip


def quiet(_: str) -> None:
    pass


def test_the_reviews_that_are_shipped() -> None:
    written = list(read_written())
    assert len(written) > 1000
    for language in ("en", "zh"):
        pool = pool_reviews(written, language)
        assert len(pool[PRAISE]) > 150
        assert len(pool[BLAME]) > 150
    # What is measured by was never learned from.
    texts = {review.text.casefold().rstrip(".。!！") for review in written}
    for file in MEASURED.glob("*.tsv"):
        for line in file.read_text(encoding="utf-8").splitlines():
            text = line.partition("\t")[2].casefold().rstrip(".。!！")
            assert len(text) < 20 or text not in texts


def test_a_split_is_the_same_each_time_and_parts_texts() -> None:
    one, two = load_reviews(Reviews()), load_reviews(Reviews())
    assert one == two
    assert {r.text for r in one.train}.isdisjoint(r.text for r in one.held)
    assert {r.text for r in one.held} != {r.text for r in load_reviews(Reviews(seed=2)).held}


def test_composed_reviews_say_what_their_parts_say() -> None:
    import random

    pool = pool_reviews([r for r in read_written() if r.language == "zh"], "zh")
    chance = random.Random(3)
    made = [compose(pool, "zh", chance) for _ in range(200)]
    assert {review.says for review in made} == {BLAME, NEITHER, PRAISE}
    sums = [sum(hit.weight for hit in read_opinions(r.text).hits) * (r.says - 1) for r in made]
    assert np.mean([each > 0 for each in sums if each]) > 0.75


def test_stars_are_weak_labels(shop_reviews: Path, tmp_path: Path) -> None:
    assert [says_stars(stars) for stars in (1, 2, 3, 4, 5)] == [0, 0, 1, 2, 2]
    assert len(list(read_own(shop_reviews))) == sum(map(len, WORDS.values())) * len(THINGS)
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join(json.dumps({"text": f"good {i}", "stars": 5}) for i in range(30)))
    with pytest.raises(DataError, match="0 of the rarer of praise and blame"):
        load_reviews(Reviews(files=(str(few),)))
    with pytest.raises(DataError, match="cannot be read"):
        load_reviews(Reviews(files=(str(tmp_path / "absent"),)))


def test_words_alone_learn_and_come_back_the_same(shop_reviews: Path, tmp_path: Path) -> None:
    recipe = make_recipe(shop_reviews)
    result = train_sentiment(recipe, tmp_path / "run", tmp_path / "model", quiet)
    assert result.figures["English, own"]["binary"] > 0.9
    assert result.figures["Chinese, own"]["binary"] > 0.9
    again = train_sentiment(recipe, tmp_path / "run2", tmp_path / "model2", quiet)
    head = (result.folder / HEAD).read_bytes()
    assert (again.folder / HEAD).read_bytes() == head
    assert identify_sentiment(str(again.folder)) == identify_sentiment(str(result.folder))
    card = (result.folder / "README.md").read_text()
    assert "reviews.jsonl.gz, by their stars" in card
    assert "English, own" in card
    assert str(shop_reviews.parent) not in (result.folder / "manifest.json").read_text()


def test_a_backbone_learns_and_scores_the_same_when_loaded(
    shop_reviews: Path, backbone: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(shop_reviews, str(backbone))
    said: list[str] = []
    result = train_sentiment(recipe, tmp_path / "run", tmp_path / "model", said.append)
    assert any(line.startswith("step 8: held-out loss") for line in said)
    texts = ["a superb hat", "the red shoes fell off", "shoe rack " * 30, "a"]
    split = load_reviews(recipe.reviews)
    finished = train_deep(recipe, split.train, split.held, tmp_path / "run", quiet)
    own = [review for review in split.held if review.language == "en"]
    truth = np.array([review.says for review in own])
    head = fit_head(split.train, "en", recipe.words, 1, 0.5)

    def score(lines: list[str]) -> Any:
        by_words = score_reviews(head, [Review(line, PRAISE, "en", "own") for line in lines])
        return score_deep(finished, lines) + recipe.deep.words_share * by_words

    scale, cut = calibrate(score([review.text for review in own]), truth, recipe.reviews.between)
    expected = spread(scale * score(texts), -cut, cut)
    reader = load_sentiment(str(result.folder), "cpu")
    np.testing.assert_allclose(reader.read(texts)[[0, 1, 3]], expected[[0, 1, 3]], atol=2e-3)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    shop_reviews: Path, backbone: Path, tmp_path: Path
) -> None:
    split = load_reviews(make_recipe(shop_reviews).reviews)
    recipe = make_recipe(shop_reviews, str(backbone))
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    train_deep(recipe, split.train, split.held, tmp_path / "whole", quiet)

    def stop(line: str) -> None:
        if line.startswith("step 4"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_deep(recipe, split.train, split.held, tmp_path / "parts", stop)
    said: list[str] = []
    train_deep(recipe, split.train, split.held, tmp_path / "parts", said.append)
    assert said[0] == "Going on from step 2 ..."
    for file in (CHECKPOINT, BEST):
        whole = torch.load(tmp_path / "whole" / file, weights_only=True)
        parts = torch.load(tmp_path / "parts" / file, weights_only=True)
        for name, values in whole.get("weights", whole).items():
            torch.testing.assert_close(parts.get("weights", parts)[name], values)


def test_calibrating_keeps_the_sign_and_bounds_what_is_neither() -> None:
    chance = np.random.default_rng(5)
    truth = chance.choice([BLAME, NEITHER, PRAISE], 400, p=[0.4, 0.2, 0.4])
    scores = 8 * (truth - 1) + chance.normal(0, 8, 400)
    scale, cut = calibrate(scores, truth, 0.1)
    assert 0 < scale < 1  # it was surer than it was right
    said = spread(scale * scores, -cut, cut)
    polar = truth != NEITHER
    assert (said[polar].argmax(axis=1) == NEITHER).mean() == pytest.approx(0.1, abs=0.01)
    assert (np.sign(said[:, PRAISE] - said[:, BLAME]) == np.sign(scores)).all()
    assert calibrate(scores, np.full(400, PRAISE), 0.1) == (1.0, 0.5)


def test_a_report_counts_as_scikit_learn_would() -> None:
    rows = np.eye(3)[[0, 0, 1, 2, 2, 2, 1]]
    report = measure_reading(rows, [0, 2, 2, 2, 2, 1, 1])
    # precision and recall: blame 1/2, 1/1; neither 1/2, 1/2; praise 2/3, 2/4
    assert report["three"] == pytest.approx((2 / 3 + 1 / 2 + 4 / 7) / 3, abs=1e-4)
    assert report["lost"] == 0.2
    assert report["classes"]["positive"]["count"] == 4
    assert "macro-F1" in show_report(report)


def test_recipes_and_flags(tmp_path: Path) -> None:
    assert read_recipe(None) == SentimentTraining()
    file = tmp_path / "r.toml"
    file.write_text("[reviews]\nshiped = false\n")
    with pytest.raises(ConfigError, match=r"reviews\.shipped"):
        read_recipe(file)
    file.write_text("[reviews]\nshipped = false\n")
    with pytest.raises(ConfigError, match="needs reviews"):
        cli.main(["train", "sentiment", "--recipe", str(file)], standalone_mode=False)


def test_the_command(
    shop_reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text("[reviews]\nshipped = false\n[words]\ncomposed = 20\n")
    command = ["train", "sentiment", "--recipe", str(recipe), "--reviews", str(shop_reviews)]
    command += ["--words-only", "--out", str(tmp_path / "m"), "--run", str(tmp_path / "r")]
    cli.main(command, standalone_mode=False)
    assert "English, own, held out" in capsys.readouterr().out
    cli.main([*command, "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == str(tmp_path / "m")
    assert set(told["figures"]) == {"English, own", "Chinese, own"}


def test_reviews_of_both_languages_are_needed(tmp_path: Path) -> None:
    file = tmp_path / "english.jsonl"
    rows = [
        {"text": f"good {i}" if i % 2 else f"bad {i}", "stars": 1 + i % 2 * 4} for i in range(40)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match="no Chinese reviews"):
        train_sentiment(make_recipe(file), tmp_path / "run", tmp_path / "model", quiet)
