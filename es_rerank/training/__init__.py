"""Training a reranker: a catalogue in, weak labels, a model folder out.

catalogue -> weak (queries, facts, negatives) -> encode -> train (adapt, losses) -> export
"""
