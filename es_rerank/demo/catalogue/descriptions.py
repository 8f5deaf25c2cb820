"""Descriptions in several styles: prose, bullets, specification, story, marketplace."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from es_rerank.demo.catalogue.vocabulary import Value

STYLES = ("prose", "bullets", "specification", "story", "marketplace")
OPENINGS = {
    "en": (
        "Meet the {brand} {model}.",
        "The {model} is {brand}'s take on {label}.",
        "{brand} {model}: {label} for everyday use.",
        "Why the {model}? Because details matter.",
        "The {model} from {brand} does one thing and does it properly.",
        "There are plenty of {label} around. This is the one our buyers took home.",
    ),
    "zh": (
        "{brand}{model}，为日常使用而设计。",
        "这款{brand}{model}是店里的回头客最爱。",
        "挑{label}，看细节。{brand}{model}把细节做到位。",
        "{brand}新品{model}到货。",
    ),
}


def write_description(
    style: str,
    rng: random.Random,
    *,
    language: str,
    names: Mapping[str, Any],
    features: Sequence[str],
    uses: Sequence[str],
    facts: Sequence[str],
    line: str,
) -> str:
    """The text of a family: brand, features, what it is for, facts; in the given style."""
    stop = "。" if language == "zh" else ". "
    gap = "" if language == "zh" else " "
    opening = rng.choice(OPENINGS[language]).format(**names)
    chosen = rng.sample(list(features), min(len(features), rng.randint(3, 4)))
    if style == "prose":
        return gap.join([opening, *chosen[:2], *uses, *chosen[2:]])
    if style == "bullets":
        return "\n".join(f"• {text}" for text in [*chosen, *uses])
    if style == "specification":
        table = "；".join(facts) if language == "zh" else "; ".join(facts)
        return gap.join([*uses, *chosen[:2]]) + f"\n{table}{stop.strip()}"
    if style == "story":
        return gap.join([line, *uses, *chosen[:3]])
    marks = ("✅", "★", "👍", "✔")
    return "\n".join(
        f"{marks[0] if language == 'zh' else rng.choice(marks)} {text}" for text in [*uses, *chosen]
    )


def state_facts(
    attributes: Mapping[str, Value], language: str, words: Mapping[str, Any]
) -> list[str]:
    """`weight_g: 245` as "Weight: 245 g" or "重量：245克"; yes and no attributes are skipped."""
    facts = []
    for name, value in attributes.items():
        stem, unit = split_unit(name, words["units"])
        if str(value) in ("no", "yes", "否", "是", "none", "无"):
            continue
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        if language == "zh":
            label = words["labels_zh"].get(stem)
            if label is None:
                raise ValueError(f"words.toml, labels_zh, lacks {stem!r}")
            facts.append(f"{label}：{shown}{words['units'][unit][1] if unit else ''}")
        else:
            label = stem.replace("_", " ").capitalize()
            facts.append(f"{label}: {shown}" + (f" {words['units'][unit][0]}" if unit else ""))
    return facts


def split_unit(name: str, units: Mapping[str, Any]) -> tuple[str, str | None]:
    """`weight_g` -> (`weight`, `g`); a name without a unit keeps all of itself."""
    stem, bar, last = name.rpartition("_")
    return (stem, last) if bar and last in units else (name, None)
