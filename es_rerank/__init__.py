"""Rerank and diversify e-commerce search on Elasticsearch and OpenSearch."""

__version__ = "0.1.0"
