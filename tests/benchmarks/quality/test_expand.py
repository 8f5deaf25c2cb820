"""The benchmark of added candidates, on lists made here."""

from __future__ import annotations

from benchmarks.quality.expand import recall


def test_recall_is_of_what_could_be_found() -> None:
    many = {f"d{i}": 1 for i in range(200)}
    grades = {"a": {"x": 3, "y": 1, "z": 0}, "b": {"z": 0}, "c": {"x": 1}, "many": many}
    found = {"a": ["z", "x"], "b": ["z"], "c": [], "many": list(many)}
    assert recall(found, grades) == {"a": 0.5, "c": 0.0, "many": 1.0}


def test_what_lies_past_the_first_hundred_is_not_found() -> None:
    run = {"a": [*(f"n{i}" for i in range(100)), "x"]}
    assert recall(run, {"a": {"x": 1}}) == {"a": 0.0}
