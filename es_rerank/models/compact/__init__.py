"""Rerankers made smaller or moved to another runtime, and what that cost."""
