"""Product titles in the styles that shops really have, from clean to keyword-stuffed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from es_rerank.demo.catalogue.vocabulary import Seller

STYLES = {
    "official": ("clean", "brand-first", "brand-first"),
    "shop": ("clean", "type-first", "brand-first", "facts"),
    "marketplace": ("stuffed", "stuffed", "stuffed", "facts"),
    "wholesale": ("wholesale", "facts"),
    "second-hand": ("used",),
}


def choose_style(rng: random.Random, seller: Seller) -> str:
    return rng.choice(STYLES[seller.kind])


def write_title(
    style: str,
    *,
    language: str,
    brand: str,
    model: str,
    noun: str,
    highlights: Sequence[str],
    extra: Sequence[str],
    colour: str | None,
    size: str | None,
    condition: str,
) -> str:
    """A title; the same arguments give the same title, so copies are copies."""
    parts: Mapping[str, Any] = {"brand": brand, "model": model, "noun": noun}
    variant = [v for v in (colour, size) if v]
    if language == "zh":
        return _chinese(style, parts, highlights, extra, variant, condition)
    named = [v for v in (" ".join(w.capitalize() for w in (colour or "").split()), size) if v]
    tail = ", ".join(named)
    if style == "clean":
        return _join(f"{brand} {model} {noun}", tail, ", ")
    if style == "brand-first":
        return _join(_join(f"{brand} {model} {noun}", " ".join(highlights[:1]), " - "), tail, " - ")
    if style == "type-first":
        return _join(f"{noun} {model} by {brand}", tail, ", ")
    if style == "facts":
        return _join(
            _join(f"{brand} {noun} {model}", " | ".join(highlights[:3]), " | "), tail, " | "
        )
    if style == "wholesale":
        return _join(f"{noun} {brand} {model}, trade pack", tail, ", ")
    if style == "used":
        state = "Refurbished" if condition == "refurbished" else "Used"
        return _join(f"{brand} {model} {noun}", tail, ", ") + f" ({state})"
    stuffed = " ".join([brand, noun, *extra[:2], *highlights[:2], "for", *extra[2:3]])
    if len(extra) < 3:
        stuffed = stuffed.removesuffix(" for")
    return _join(stuffed, " ".join(named), " ")


def _chinese(
    style: str,
    parts: Mapping[str, Any],
    highlights: Sequence[str],
    extra: Sequence[str],
    variant: Sequence[str],
    condition: str,
) -> str:
    name = f"{parts['brand']}{parts['model']}{parts['noun']}"
    tail = " ".join(variant)
    if style == "stuffed":
        return " ".join(
            p
            for p in (
                f"{parts['brand']}{parts['noun']}",
                "".join(extra[:2]),
                " ".join(highlights[:2]),
                "".join(extra[2:3]),
                tail,
            )
            if p
        )
    if style == "facts":
        return " ".join(p for p in (name, *highlights[:3], tail) if p)
    if style == "type-first":
        return " ".join(
            p for p in (f"{parts['noun']}（{parts['brand']}{parts['model']}）", tail) if p
        )
    if style == "wholesale":
        return " ".join(
            p for p in (f"{parts['noun']}批发", f"{parts['brand']}{parts['model']}", tail) if p
        )
    if style == "used":
        state = "官方翻新" if condition == "refurbished" else "二手"
        return " ".join(p for p in (f"【{state}】{name}", tail) if p)
    if style == "brand-first":
        return " ".join(p for p in (name, *highlights[:1], tail) if p)
    return " ".join(p for p in (name, tail) if p)


def _join(left: str, right: str, separator: str) -> str:
    return f"{left}{separator}{right}" if right else left
