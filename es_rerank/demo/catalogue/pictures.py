"""Pictures: one small SVG per product type, drawn by us, in the product's colour.

Shapes live on a 64 x 64 canvas in `tables/icons.toml`; `C` stands for the colour, `D` for a darker
and `L` for a lighter shade of it.
"""

from __future__ import annotations

import tomllib
from functools import cache
from urllib.parse import quote

from es_rerank.demo.catalogue.vocabulary import TABLES

PREFIX = "data:image/svg+xml,"


@cache
def draw_picture(icon: str, colour: str) -> str:
    """A data URI of the icon in the colour (`#rrggbb`); always less than 1.2 KB."""
    body = _icons()[icon]
    for letter, shade in (("C", colour), ("D", _shade(colour, 0.62)), ("L", _shade(colour, 1.55))):
        body = body.replace(f"'{letter}'", f"'{shade}'")
    svg = (
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 64 64'>"
        f"<rect width='64' height='64' rx='6' fill='#eef1f4'/>{body}</svg>"
    )
    return PREFIX + quote(svg, safe=" ='/:;,.()-")


@cache
def _icons() -> dict[str, str]:
    text = (TABLES / "icons.toml").read_text("utf-8")
    return {name: "".join(body.split("\n")) for name, body in tomllib.loads(text).items()}


def _shade(colour: str, factor: float) -> str:
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    if factor <= 1:
        mixed = [round(c * factor) for c in channels]
    else:
        mixed = [round(c + (255 - c) * (factor - 1)) for c in channels]
    return "#" + "".join(f"{c:02x}" for c in mixed)
