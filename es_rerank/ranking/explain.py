"""How a hit came to its place: what each step of the ranking did to it, adding up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.crowding import Cap
from es_rerank.ranking.diversity.kernel import Array, Kernel

NEIGHBOURS = 3
"""Hits above that are named for one that was pushed down."""
ALIKE = 0.3
"""Similarity below which a hit above is not named."""

Order = NDArray[np.int64]


@dataclass(frozen=True)
class Step:
    """What one step made of the order. order: (n,) engine positions by place."""

    name: str
    order: Order


@dataclass(frozen=True)
class Course:
    """The course of one ranking, kept so that it can be explained.

    steps: from the engine's order on. kernel: what diversity compared. read: the engine positions
    of the kernel's candidates, None for all. strength: the diversity that was used; openness: by
    what it was multiplied, None where that is off.
    """

    steps: Sequence[Step]
    candidates: Candidates
    caps: Sequence[Cap]
    method: str
    strength: float
    openness: float | None = None
    kernel: Kernel | None = None
    read: Order | None = None

    @property
    def order(self) -> Order:
        """What has come of it so far."""
        return self.steps[-1].order

    def widen(self, read: Order, late: Order) -> Course:
        """The same for the whole window, `late` standing behind those that were read."""
        engine, *steps = self.steps
        whole = [Step(step.name, np.concatenate([read[step.order], late])) for step in steps]
        everyone = np.arange(len(read) + len(late))
        return replace(self, steps=(replace(engine, order=everyone), *whole), read=read)


@dataclass(frozen=True)
class Line:
    """One line of an explanation: a value, what it is, and what it is made of."""

    value: float
    text: str
    parts: Sequence[Line] = ()


def explain_course(course: Course) -> dict[int, list[Line]]:
    """Per engine position the hit's rank there and by how many places each step moved it.

    These add up to the hit's rank, from 1. Steps that did not move it are left out.
    """
    ranks = [rank_places(step.order) for step in course.steps]
    similarity = np.zeros((0, 0)) if course.kernel is None else course.kernel.square()
    lines: dict[int, list[Line]] = {}
    for position in range(len(course.candidates)):
        own = [Line(float(ranks[0][position]), "rank by the engine")]
        for before, after, step in zip(ranks, ranks[1:], course.steps[1:], strict=False):
            moved = float(after[position] - before[position])
            parts: Sequence[Line] = ()
            text = f"places moved by {step.name}"
            if step.name == "diversity":
                text = f"{text} ({describe_strength(course)})"
                if moved > 0:
                    parts = name_neighbours(course, similarity, position, after)
            elif step.name == "crowding" and moved > 0:
                parts = name_caps(course, position, before)
            if moved:
                own.append(Line(moved, text, parts))
        lines[position] = own
    return lines


def rank_places(order: Order) -> Order:
    """(n,) the rank, from 1, by engine position."""
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks


def describe_strength(course: Course) -> str:
    """The method, and how strong it was."""
    told = f"{course.method}, strength {course.strength:.3g}"
    if course.openness is None:
        return told
    return f"{told}: the search leaves {course.openness:.2g} times the usual open"


def name_neighbours(course: Course, similarity: Array, position: int, ranks: Order) -> list[Line]:
    """The hits above that are most like this one: they pushed it down."""
    kernel, read = course.kernel, course.read
    if kernel is None:
        return []
    own = position if read is None else int(np.searchsorted(read, position))
    ranks = ranks if read is None else ranks[read]
    if own == len(ranks) or (read is not None and read[own] != position):
        return []
    above = np.where(ranks < ranks[own], similarity[own], -1.0)
    nearest = np.argsort(-above, kind="stable")[:NEIGHBOURS]
    return [
        Line(float(above[other]), describe_likeness(kernel, own, int(other), int(ranks[other])))
        for other in nearest.tolist()
        if above[other] >= ALIKE
    ]


def describe_likeness(kernel: Kernel, own: int, other: int, rank: int) -> str:
    """In what two candidates agree."""
    agreeing = [
        name
        for name, codes in zip(kernel.names, kernel.codes, strict=True)
        if codes[own] == codes[other]
    ]
    return f"like the hit at rank {rank}" + (f": same {', '.join(agreeing)}" if agreeing else "")


def name_caps(course: Course, position: int, before: Order) -> list[Line]:
    """The caps that the hit would have broken where it stood."""
    lines = []
    order = np.argsort(before)
    place = int(before[position]) - 1
    for cap in course.caps:
        values = course.candidates.attributes.get(cap.field)
        if values is None or (value := values[position]) is None:
            continue
        window = order[max(place - cap.per + 1, 0) : place + 1].tolist()
        count = sum(values[i] == value for i in window)
        if count > cap.max_count:
            told = f"at most {cap.max_count} of {cap.field} {value!r} in {cap.per}: it was number"
            lines.append(Line(float(count), told))
    return lines
