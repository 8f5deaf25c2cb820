"""Measuring runs: relevance, diversity, latency."""
