"""Reranking as other products ask for it, read into our own words."""
