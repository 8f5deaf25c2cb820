"""Rerankers behind HTTP: what they are asked (`shapes`), where (`address`), how (`reranker`)."""

from es_rerank.models.remote.reranker import RemoteReranker
from es_rerank.models.remote.shapes import Api

__all__ = ["Api", "RemoteReranker"]
