"""`es-rerank train judgments`, from a log to what `eval` and training read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from es_rerank.cli.main import cli
from es_rerank.cli.train_judgments import read_places
from es_rerank.datasets.judgments import read_judgments
from es_rerank.datasets.queries import read_queries
from es_rerank.demo import sample
from es_rerank.errors import ConfigError, DataError
from es_rerank.evaluation.subject import join_subject
from es_rerank.training.judgments import write_judgments
from tests.training.clicks.simulation import pbm, simulate


@pytest.fixture(scope="module")
def log_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated shows of twenty queries as CSV."""
    log = simulate(pbm, searches=4000, queries=20, ranks=5).log
    lines = [
        f"red shoes {log.queries[q]},{log.documents[d]},{r},{int(c)},s{s}"
        for q, d, r, c, s in zip(
            log.query, log.document, log.rank, log.clicked, log.search, strict=True
        )
    ]
    path = tmp_path_factory.mktemp("log") / "log.csv"
    path.write_text("\n".join(["query,docid,rank,clicked,session", *lines]), encoding="utf-8")
    return path


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["train", "judgments", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("model", ["pbm", "ubm"])
def test_judgments_as_csv(log_file: Path, tmp_path: Path, model: str) -> None:
    out = tmp_path / "clicks.csv"
    said = json.loads(run(str(log_file), "--model", model, "--out", str(out), "--json"))
    assert said["files"] == [str(out)]
    assert said["shows"] == 20_000
    assert said["propensities"][0]["propensity"] == 1.0
    assert said["propensities"][0]["distance"] == (1 if model == "ubm" else None)
    found = read_judgments(out)
    assert sum(map(len, found.ratings.values())) == said["judgments"]
    assert {rating for rated in found.ratings.values() for rating in rated.values()} == {0, 1, 2, 3}
    header = out.read_text().splitlines()[0]
    assert header == "query,docid,rating,weight,attraction,views,shows,clicks"


def test_judgments_as_qrels_with_their_queries(log_file: Path, tmp_path: Path) -> None:
    csv_file, out = tmp_path / "clicks.csv", tmp_path / "clicks.qrels"
    said = run(str(log_file), "--out", str(csv_file))
    assert "place 1: seen 1.000" in said
    assert f"are in {out} and {out}.queries" in run(str(log_file), "--out", str(out))
    queries = read_queries(tmp_path / "clicks.qrels.queries")
    found = read_judgments(out).ratings
    by_text = {queries[name]: rated for name, rated in found.items()}
    assert by_text == read_judgments(csv_file).ratings
    subject = join_subject(read_judgments(out), queries, None)
    assert subject.judgments is not None
    assert len(subject.judgments.ratings) == len(found)


def test_probabilities_and_known_places(log_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "clicks.csv"
    known = ["--propensities", "1=1,2=.5,3=.33,4=.25,5=.2", "--scale", "probabilities"]
    run(str(log_file), *known, "--out", str(out))
    ratings = [r for rated in read_judgments(out).ratings.values() for r in rated.values()]
    assert 0 <= min(ratings) < max(ratings) <= 1
    with pytest.raises(ConfigError, match="place=number"):
        read_places("1=1,second=2")


def test_documents_with_blanks_cannot_be_qrels(tmp_path: Path) -> None:
    row = {"query": "hat", "docid": "a b", "rating": 1.0}
    with pytest.raises(DataError, match="write CSV"):
        write_judgments(tmp_path / "x.qrels", [row])
    assert not list(tmp_path.iterdir())


def test_the_sample_shops_log_gives_grades_that_agree_with_its_truth(tmp_path: Path) -> None:
    out = tmp_path / "clicks.csv"
    events, searches = (sample.DATA / f"ubi_{name}.jsonl.gz" for name in ("events", "queries"))
    said = json.loads(run(str(events), "--searches", str(searches), "--out", str(out), "--json"))
    truth = json.loads((sample.DATA / "propensities.json").read_text())["examination"]
    for place in said["propensities"][:3]:  # by some 150 clicks a place, in random order
        assert place["propensity"] == pytest.approx(truth[str(place["rank"])], rel=0.15)
    texts = {query.text: query.id for query in sample.load_queries()}
    qrels = sample.load_qrels()
    true: dict[float, list[int]] = {}
    for query, rated in read_judgments(out).ratings.items():
        if query in texts:
            for document, rating in rated.items():
                true.setdefault(rating, []).append(qrels[texts[query]].get(document, 0))
    means = [float(np.mean(true[rating])) for rating in (0, 1, 2, 3)]
    assert means == sorted(means)
    assert means[3] - means[0] > 1.5
