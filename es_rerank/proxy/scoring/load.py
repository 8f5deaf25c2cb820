"""The scorer that the settings name, loaded and tried once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from es_rerank.config import ModelSettings, RerankSettings, ScoreCacheSettings
from es_rerank.config.model import OWN
from es_rerank.plugins import load_plugin
from es_rerank.proxy.scoring.identity import identify
from es_rerank.proxy.scoring.pages import release_pages
from es_rerank.proxy.scoring.pairs import Pairs, warm
from es_rerank.proxy.scoring.score_cache import ScoreCache
from es_rerank.proxy.scoring.thread import DEADLINE
from es_rerank.ranking.score import (
    ENOUGH_TO_TIME,
    BiEncoderScorer,
    Limits,
    PairModel,
    PairScorer,
    Scorer,
    VectorCache,
)
from es_rerank.ranking.threads import calm_numpy

WARM_UP = "a product's description of usual length, which teaches how long texts take here; " * 6
QUEUED = frozenset({"cross-encoder", "remote"})
"""Kinds whose pairs are scored each by itself, and so can wait in a queue and be kept."""
LOCAL = frozenset({"bi-encoder", "cross-encoder"})
"""Kinds that load a model here."""
REACH_S = 2.0
"""Seconds that servers elsewhere have at the start to say what they take."""
Loaded = tuple[Scorer, VectorCache | None]


def local_part(settings: ModelSettings) -> ModelSettings | None:
    """What of the settings wants a model loaded here: all, the fallback alone, or nothing."""
    if settings.kind in LOCAL:
        return settings
    if settings.kind == "remote" and settings.fallback == "bi-encoder":
        return settings.model_copy(update={"kind": "bi-encoder", "name": settings.embedder})
    return None


def load(settings: ModelSettings, plugins: Mapping[str, Mapping[str, Any]]) -> Loaded:
    """Make the scorer that the settings name, and try it once.

    Only the kinds in LOCAL import torch. Raises ModelError, and ConfigError for a plugin that is
    not there.
    """
    calm_numpy()
    if settings.kind == "plugin":
        return load_plugin("scorer", settings.name, plugins), None
    if settings.kind == "lexical":
        from es_rerank.ranking.lexical import LexicalModel

        return PairScorer(LexicalModel()), None
    if settings.kind == "remote":
        return PairScorer(reach(settings)), None
    from es_rerank.models.embedder import load_embedder

    if settings.threads is not None:
        import torch

        torch.set_num_threads(settings.threads)
    if settings.kind == "bi-encoder":
        name = settings.embedder if settings.name == OWN else settings.name
        vectors = VectorCache(load_embedder(name, settings.device))
        scorer: Scorer = BiEncoderScorer(vectors)
    else:
        scorer = load_pairs(settings)
        vectors = VectorCache(load_embedder(settings.embedder, settings.device))
    release_pages()  # before warming up, which brings back what serving needs
    vectors.encode([f"{i} {WARM_UP}" for i in range(ENOUGH_TO_TIME)])
    return scorer, vectors


def reach(settings: ModelSettings) -> PairModel:
    """The reranker behind HTTP; one that is away now may come yet. Raises ModelError."""
    from es_rerank.models.remote import RemoteReranker

    key = settings.api_key.get_secret_value() if settings.api_key is not None else None
    reranker = RemoteReranker(
        settings.urls,
        settings.name if settings.name != OWN else "",
        key,
        api=None if settings.api == "auto" else settings.api,
        batch_size=settings.batch_size,
        parallel=settings.parallel,
        ca_certs=settings.ca_certs,
        deadline=DEADLINE.get,
    )
    reranker.learn(REACH_S)
    return reranker


def load_fallback(settings: ModelSettings, local: Loaded | None = None) -> Loaded:
    """What scores where the server does not; local: where another process has its model.

    Raises ModelError.
    """
    if settings.fallback == "lexical":
        from es_rerank.ranking.lexical import LexicalModel

        return PairScorer(LexicalModel()), None
    part = local_part(settings)
    assert part is not None, "the fallback bi-encoder is local"
    return local or load(part, {})


def queue_pairs(
    model: PairModel, settings: ModelSettings, cache: ScoreCacheSettings, rerank: RerankSettings
) -> Pairs:
    """The queue before a model that reads pairs, its speed known where it runs here.

    Raises ConfigError for a Redis that cannot be set up.
    """
    from es_rerank.proxy.scoring.shared_scores import SharedScores

    # A process that passes texts on leaves Redis to the one that has the model.
    limits = find_limits(model, settings)
    shared = SharedScores(cache) if cache.redis_url and not limits.whole else None
    kept = ScoreCache(
        identify(model, settings), int(cache.max_mb * 1_000_000), cache.keep_s, shared
    )
    pairs = Pairs(model, limits, kept, rerank.batching, rerank.batch_wait_ms / 1000)
    if settings.kind in LOCAL and not limits.whole:
        warm(pairs, WARM_UP, ENOUGH_TO_TIME)
    return pairs


def find_limits(model: PairModel, settings: ModelSettings) -> Limits:
    """What the model says that it takes, or what its kind does."""
    found = getattr(model, "limits", None)
    if isinstance(found, Limits):
        return found
    if settings.kind == "remote":
        return Limits(calls=settings.parallel, texts=getattr(model, "most", None))
    read = getattr(model, "most_tokens", None)
    return Limits(tokens=read) if isinstance(read, int) else Limits()


def load_pairs(settings: ModelSettings) -> PairScorer:
    """The model that reads pairs here: one of our folders, or any cross-encoder. Raises ModelError.

    Our own counts on the cosine of the vectors that it was trained beside, and on no other's.
    """
    from es_rerank.models.cross_encoder import load_cross_encoder
    from es_rerank.models.manifest import find_folder

    folder = find_folder(settings.name)
    if folder is None:
        model = load_cross_encoder(
            settings.name,
            settings.device,
            settings.precision,
            settings.max_tokens,
            settings.passages,
        )
        return PairScorer(model)
    from es_rerank.models.reranker import load_reranker

    ours = load_reranker(
        folder, settings.device, settings.precision, settings.max_tokens, settings.passages
    )
    same = settings.embedder == ours.manifest.embedder
    return PairScorer(ours, ours.cosine_share if same else 0.0)
