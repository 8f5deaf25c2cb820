"""Pseudo-labels: what a larger cross-encoder says of the groups that are trained on.

Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from es_rerank.errors import ModelError
from es_rerank.models.cross_encoder import load_cross_encoder
from es_rerank.models.manifest import MANIFEST, find_folder, hash_file
from es_rerank.models.network import hash_backbone
from es_rerank.models.reranker import load_reranker
from es_rerank.ranking.score import PairModel
from es_rerank.training.dataset import Say
from es_rerank.training.groups import Group
from es_rerank.training.recipe import Teacher

PART = 200
"""Groups whose labels are kept in one file: what is lost when it is stopped."""


def ask_teacher(
    groups: Sequence[Group], texts: Sequence[str], teacher: Teacher, cache: Path, say: Say
) -> list[Group]:
    """The groups with the teacher's scores. What was scored once is read from `cache`.

    Raises ModelError for a teacher that cannot be loaded, or scores what is no number.
    """
    known = identify(teacher.model)
    model = None
    told: list[Group] = []
    for start in range(0, len(groups), PART):
        part = groups[start : start + PART]
        path = cache / f"teacher-{hash_part(known, part, texts)}.npy"
        if path.is_file():
            scores: NDArray[np.float32] = np.load(path)
        else:
            if model is None:
                model = load_teacher(teacher)
            say(f"Asking the teacher, {start} of {len(groups)} groups ...")
            lists = [(group.query, [texts[row] for row in group.rows]) for group in part]
            found = model.score_lists(lists)
            scores = np.concatenate([check(own, teacher) for own in found]).astype(np.float32)
            cache.mkdir(parents=True, exist_ok=True)
            np.save(path, scores)
        ends = np.cumsum([len(group.rows) for group in part])
        told += [
            replace(group, told=own)
            for group, own in zip(part, np.split(scores, ends[:-1]), strict=True)
        ]
    return told


def load_teacher(teacher: Teacher) -> PairModel:
    """A reranker of ours, or any cross-encoder."""
    folder = find_folder(teacher.model)
    if folder is not None:
        return load_reranker(folder, teacher.device)
    return load_cross_encoder(teacher.model, teacher.device)


def identify(name: str) -> str:
    """A teacher's name and the hash of its weights, where they lie here."""
    folder = find_folder(name)
    return f"{name} {hash_file(folder / MANIFEST) if folder else hash_backbone(name)}"


def hash_part(teacher: str, groups: Sequence[Group], texts: Sequence[str]) -> str:
    """What the scores depend on, as one word."""
    hashed = hashlib.sha256(teacher.encode())
    for group in groups:
        for text in (group.query, *(texts[row] for row in group.rows)):
            hashed.update(hashlib.sha256(text.encode("utf-8", "replace")).digest())
    return hashed.hexdigest()[:16]


def check(scores: NDArray[np.float64] | Exception, teacher: Teacher) -> NDArray[np.float64]:
    """The scores. Raises ModelError for what cannot be learnt from."""
    if isinstance(scores, Exception):
        raise scores
    if not np.isfinite(scores).all():
        raise ModelError(f"[teacher] model {teacher.model!r} gives scores that are no numbers")
    return scores
