"""The package's own reranker in the scorer process, as a worker finds it there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from es_rerank.config import ModelSettings, Settings
from es_rerank.models.manifest import DEFAULT, MANIFEST, hash_file, read_manifest
from es_rerank.models.reranker import load_reranker
from es_rerank.proxy.process.client import RemotePairs, connect
from es_rerank.proxy.process.scorer import ScorerServer
from es_rerank.ranking.score import PairScorer

TEXTS = ["HP 550 notebook", "Notebook battery", "Garden hose, green, 15 m"]


def test_the_cosines_share_and_the_scores_are_the_models_own(tmp_path: Path) -> None:
    settings = Settings(model=ModelSettings(device="cpu", precision="fp32"))
    server, place = ScorerServer(settings), tmp_path / "scorer"

    async def serve_and_ask() -> None:
        stop = asyncio.Event()
        serving = asyncio.create_task(server.serve(place, stop))
        while not server.ready:
            assert server.error is None
            await asyncio.sleep(0.05)
        scorer, vectors = await asyncio.to_thread(connect, place)
        assert isinstance(scorer, PairScorer)
        assert isinstance(scorer.model, RemotePairs)
        assert vectors is not None
        assert scorer.cosine_share == read_manifest(DEFAULT).cosine_share > 0
        assert scorer.model.identity.startswith(hash_file(DEFAULT / MANIFEST))
        scores = await asyncio.to_thread(scorer.model.score_pairs, "laptop", TEXTS)
        assert scores == pytest.approx(load_reranker(DEFAULT, "cpu").score_pairs("laptop", TEXTS))
        del scorer, vectors  # which hangs up
        await asyncio.sleep(0.2)
        stop.set()
        await serving

    asyncio.run(serve_and_ask())
