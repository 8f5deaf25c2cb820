"""Judgments out of click logs: log -> propensity (how much a place is seen) -> attraction (how much
a document attracts whoever sees it) -> grades."""
