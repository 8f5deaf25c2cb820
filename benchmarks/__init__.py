"""Measurements, each a script: python -m benchmarks.<folder>.<name> [--json]."""
