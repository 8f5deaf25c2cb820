"""Which pairs are worth asking about."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

from es_rerank.training.suggest.choice import Pool, choose_pairs, entropy, weigh

Array = NDArray[np.float64]


def pool(query: str, scores: dict[str, Array], served: Array | None = None) -> Pool:
    n = len(next(iter(scores.values())))
    ids = [f"{query}-{i}" for i in range(n)]
    own = np.mean(list(scores.values()), axis=0) if served is None else served
    return Pool(query, ids, [name.upper() for name in ids], scores, own)


def falling(n: int = 40) -> Array:
    return np.linspace(1.0, 0.0, n)


def test_doubt_is_greatest_at_the_pages_edge() -> None:
    doubt, dispute = weigh(pool("q", {"words": falling(), "vectors": falling()}), page=10)
    assert int(doubt.argmax()) in {9, 10}
    assert doubt[0] < doubt[5] < doubt[9]
    assert doubt[39] < doubt[20] < doubt[10]
    assert dispute == pytest.approx(np.zeros(40), abs=1e-9)


def test_dispute_is_greatest_where_the_judges_contradict_each_other() -> None:
    other = falling()
    other[[0, 39]] = other[[39, 0]]
    _, dispute = weigh(pool("q", {"words": falling(), "vectors": other}), page=10)
    assert set(np.argsort(-dispute)[:2].tolist()) == {0, 39}
    assert dispute[0] > 0.5


def test_a_judge_that_says_nothing_does_not_count() -> None:
    silent = np.full(40, np.nan)
    both = weigh(pool("q", {"words": falling(), "vectors": falling()}))
    one = weigh(pool("q", {"words": falling(), "model": silent}, falling()))
    assert one[0] == pytest.approx(both[0])
    assert one[1] == pytest.approx(both[1], abs=1e-9)


def test_entropy_is_of_a_yes_or_no() -> None:
    assert entropy(np.array([0.5, 0.0, 1.0])) == pytest.approx([1.0, 0.0, 0.0], abs=1e-6)


def test_pairs_come_in_blocks_the_queries_of_most_worth_first() -> None:
    other = falling()
    other[:20] = other[:20][::-1]
    disputed = pool("disputed", {"words": falling(), "vectors": other}, falling())
    plain = pool("plain", {"words": falling(), "vectors": falling()})
    found = choose_pairs([plain, disputed], 20)
    assert [each.query for each in found] == ["disputed"] * 8 + ["plain"] * 8 + ["disputed"] * 4
    first = [each.reason for each in found[:8]]
    assert first[:2] == ["top", "top"]
    assert first[-2:] == ["lot", "lot"]
    assert set(first[2:-2]) <= {"doubt", "dispute"}
    assert [each.place for each in found[:2]] == [1, 2]
    assert "top" not in {each.reason for each in found[16:]}
    assert len(choose_pairs([plain, disputed], 20, block=20, by_lot=0)) == 20


def test_near_copies_are_not_asked_about_together() -> None:
    vectors = np.eye(40, dtype=np.float32)
    plain = pool("q", {"words": falling()})
    found = [each.document for each in choose_pairs([plain], 8, by_lot=0)]
    one, copy = (int(document.rpartition("-")[2]) for document in found[2:4])
    vectors[copy] = vectors[one]
    copies = Pool("q", plain.ids, plain.titles, plain.scores, plain.served, vectors)
    again = [each.document for each in choose_pairs([copies], 8, by_lot=0)]
    assert again[:3] == found[:3]
    assert found[3] not in again


def test_what_is_told_of_a_pair() -> None:
    other = falling()[::-1].copy()
    contrary = pool("q", {"words": falling(), "vectors": other}, falling())
    for found in choose_pairs([contrary], 8):
        at = int(found.document.rpartition("-")[2])
        assert found.title == found.document.upper()
        assert found.place == found.ranks["words"] == at + 1
        assert found.ranks["vectors"] == 40 - at
        assert found.reason in {"top", "doubt", "dispute", "lot"}


@given(
    sizes=st.lists(st.integers(0, 30), max_size=6),
    count=st.integers(1, 60),
    by_lot=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_pairs_are_distinct_unjudged_and_as_many_as_there_are(
    sizes: list[int], count: int, by_lot: float, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    pools = [
        pool(f"q{i}", {"words": chance.random(n), "vectors": chance.random(n)})
        for i, n in enumerate(sizes)
    ]
    known = {(each.query, each.ids[0]) for each in pools if each.ids}
    found = choose_pairs(pools, count, known, by_lot=by_lot, seed=seed)
    pairs = {(each.query, each.document) for each in found}
    assert len(pairs) == len(found) == min(count, sum(sizes) - len(known))
    assert not pairs & known
    again = choose_pairs(pools, count, known, by_lot=by_lot, seed=seed)
    assert [(a.query, a.document) for a in again] == [(b.query, b.document) for b in found]


FEATURES = 12
TRUTH = np.random.default_rng(5).normal(0, 1, FEATURES)


def make_queries(chance: np.random.Generator, count: int) -> list[tuple[Array, Array]]:
    """Features (60, f) of each query's candidates, and what a person would say of them, 0 or 1."""
    found = []
    for _ in range(count):
        features = chance.normal(0, 1, (60, FEATURES))
        worth = features @ TRUTH
        found.append((features, (worth > np.sort(worth)[-12]).astype(np.float64)))
    return found


def learn(features: Array, labels: Array, before: Array) -> Array:
    """Logistic regression that is drawn to the weights of before."""

    def loss(weights: Array) -> tuple[float, Array]:
        logits = features @ weights[1:] + weights[0]
        off = weights - before
        gradient = 1 / (1 + np.exp(-logits)) - labels
        slope = np.concatenate([[gradient.sum()], features.T @ gradient]) + off
        return float((np.logaddexp(0, logits) - labels * logits).sum() + off @ off / 2), slope

    found: Array = minimize(loss, before, jac=True, method="L-BFGS-B").x
    return found


def test_judged_suggestions_teach_more_than_as_many_random_pairs() -> None:
    gains = []
    for seed in range(40):
        chance = np.random.default_rng(seed)
        train, test = make_queries(chance, 20), make_queries(chance, 60)
        rough = TRUTH + chance.normal(0, 1.0, FEATURES)  # what is served before anybody is asked
        judges = {name: TRUTH + chance.normal(0, 1.5, FEATURES) for name in ("words", "vectors")}
        pools = [
            pool(f"{i}", {name: x @ w for name, w in judges.items()}, x @ rough)
            for i, (x, _) in enumerate(train)
        ]
        suggested = [
            (int(each.query), int(each.document.rpartition("-")[2]))
            for each in choose_pairs(pools, 60, seed=seed)
        ]
        drawn = [divmod(int(i), 60) for i in chance.choice(1200, 60, replace=False)]
        before = np.concatenate([[-2.0], rough])
        precision = []
        for pairs in (suggested, drawn):
            features = np.array([train[q][0][i] for q, i in pairs])
            labels = np.array([train[q][1][i] for q, i in pairs])
            weights = learn(features, labels, before)
            hits = [y[np.argsort(-(x @ weights[1:]))[:10]].mean() for x, y in test]
            precision.append(float(np.mean(hits)))
        gains.append(precision[0] - precision[1])
    assert np.mean(gains) > 2 * np.std(gains) / np.sqrt(len(gains))
