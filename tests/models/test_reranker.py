"""The reranker that comes with the package, as the settings load it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from es_rerank.config import ModelSettings, RerankSettings
from es_rerank.demo import sample
from es_rerank.errors import ModelError
from es_rerank.evaluation.measures import ndcg
from es_rerank.models.manifest import ADAPTER, DEFAULT, HEADS, find_folder, read_manifest
from es_rerank.models.reranker import Reranker, load_reranker
from es_rerank.proxy.scoring.load import load
from es_rerank.proxy.search.options import resolve_options
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.lexical import LexicalModel
from es_rerank.ranking.pipeline import rank
from es_rerank.ranking.score import PairScorer

LAPTOPS = [
    "HP 550 Notebook PC 39.1 cm (15.4 inch) Intel Celeron",
    "Targus notebook case 39.1 cm (15.4 inch) Black",
    "HP 8-cell notebook battery",
    "Kensington cable lock for notebooks",
    "Garden hose, green, 15 m",
]


@pytest.fixture(scope="module")
def reranker() -> Reranker:
    return load_reranker(DEFAULT, "cpu")


def test_it_is_small_and_says_what_it_was_trained_on() -> None:
    assert sum((DEFAULT / name).stat().st_size for name in (ADAPTER, HEADS)) < 2_000_000
    manifest = read_manifest(DEFAULT)
    assert manifest.training["catalogues"] == ["sample", "icecat"]
    assert manifest.cosine_share > 0
    assert "no human" in (DEFAULT / "README.md").read_text().lower().replace("\n", " ")


def test_the_thing_itself_comes_before_what_belongs_to_it(reranker: Reranker) -> None:
    scores = reranker.score_pairs("laptop", LAPTOPS)
    assert scores.argmax() == 0
    assert scores.argmin() == 4


def test_lists_score_as_pairs_do_and_leave_their_facets(reranker: Reranker) -> None:
    lists = [("laptop", LAPTOPS), ("hose", LAPTOPS[3:]), ("nothing", [])]
    found = reranker.score_lists(lists)
    for (query, texts), scores in zip(lists, found, strict=True):
        assert isinstance(scores, np.ndarray)
        assert scores == pytest.approx(reranker.score_pairs(query, texts), abs=1e-4)
    facets = reranker.find_facets("hose", [*LAPTOPS[3:], None])
    assert facets is not None
    assert np.linalg.norm(facets, axis=1) == pytest.approx([1, 1, 0], abs=1e-5)
    assert reranker.find_facets("hose", [*LAPTOPS[3:], "unread"]) is None


def test_of_a_text_in_passages_the_best_counts(reranker: Reranker) -> None:
    long = " ".join(["A garden hose, green, for the lawn."] * 12 + ["HP 550 notebook, a laptop"])
    several = load_reranker(DEFAULT, "cpu", "fp32", passages=4)
    (alone,), (best, _) = (
        m.score_pairs("laptop", t) for m, t in ((reranker, [long]), (several, [long, "x"]))
    )
    assert best > alone + 1
    assert several.identity != reranker.identity


def test_words_it_does_not_know_are_told(reranker: Reranker) -> None:
    assert reranker.unknown_share("儿童积木 露营帐篷") > 0.3
    assert reranker.unknown_share("running shoes") == 0.0


def test_chinese_searches_of_the_sample_shop_keep_the_engines_order(reranker: Reranker) -> None:
    products = [p for p in sample.load_products() if p["language"] == "zh"]
    texts = [f"{p['title']} {p['description']}" for p in products]
    options = resolve_options(None, RerankSettings(), None).ranking
    scorer = PairScorer(reranker, 0.5)
    judged, first_stage = sample.load_qrels(), LexicalModel()
    queries = [query for query in sample.load_queries() if query.language == "zh"]
    assert len(queries) > 10
    for query in queries:
        scores = first_stage.score_pairs(query.text, texts)
        top = np.argsort(-scores, kind="stable")[:100]
        brands = {"brand": [products[i]["brand"] for i in top]}
        found = Candidates(scores[top], [texts[i] for i in top], attributes=brands)
        ranking = rank(query.text, found, options, scorer)
        assert ranking.notes == ("language",)
        ids = [products[i]["id"] for i in top]
        after = ndcg([ids[i] for i in ranking.order], judged[query.id])
        assert after == ndcg(ids, judged[query.id])
        asked = rank(query.text, found, replace(options, unasked=False, diversity=0.9), scorer)
        assert asked.order.tolist() != ranking.order.tolist()  # who asks for variety has it


def test_the_share_of_unknown_words_is_a_setting(reranker: Reranker) -> None:
    found = Candidates(np.ones(2), ["山行者踏浪 Pro跑步鞋 白色 39码", "儿童积木"])
    for limit, notes in ((1.0, ()), (0.3, ("language",))):
        options = resolve_options(None, RerankSettings(unknown_limit=limit), None).ranking
        ranking = rank("跑步鞋", found, replace(options, diversity=0.0), PairScorer(reranker))
        assert ranking.notes == notes
        assert (ranking.relevance is None) == bool(notes)


def test_settings_name_it_and_the_cosine_counts_with_its_own_embedder_alone(
    tiny_model: object,
) -> None:
    scorer, vectors = load(ModelSettings(kind="cross-encoder", name="default", device="cpu"), {})
    assert vectors is not None
    assert getattr(scorer, "cosine_share", 0) == read_manifest(DEFAULT).cosine_share
    other = str(tiny_model(1))  # type: ignore[operator]
    settings = ModelSettings(kind="cross-encoder", name="default", device="cpu", embedder=other)
    assert getattr(load(settings, {})[0], "cosine_share", 1) == 0.0


def test_other_models_are_no_folder_of_ours() -> None:
    assert find_folder("default") == DEFAULT
    assert find_folder("all-MiniLM-L6-v2") is None


def test_it_can_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr("es_rerank.models.manifest.DEFAULT", tmp_path)
    with pytest.raises(ModelError, match="make model"):
        find_folder("default")
