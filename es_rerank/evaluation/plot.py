"""Four small plots as SVG: intervals about zero, bars, points in a plane, lines in one."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, LEFT, RIGHT = 720, 190, 70
ROW, TOP, BOTTOM = 24, 26, 26
PLANE_HEIGHT, BAR_HEIGHT = 320, 130
CURVES_HEIGHT, LEGEND_ROW = 400, 18
COLOURS = ("#2f5bd0", "#b3362c", "#2a7d46", "#b07a00", "#7a3fb0", "#00838f")
"""A line and its dashed companion share one."""


@dataclass(frozen=True)
class Mark:
    """A value with its interval; kind: `good`, `bad` or nothing."""

    name: str
    value: float
    low: float
    high: float
    kind: str = ""


@dataclass(frozen=True)
class Curve:
    """A named line through points (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


@dataclass(frozen=True)
class Scale:
    """From a range of values to pixels."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.stop - self.start), 1)

    def ticks(self) -> list[float]:
        """Round values within the range, five or so."""
        step = 10 ** math.floor(math.log10((self.high - self.low) / 4))
        step *= next(m for m in (1, 2, 5, 10) if (self.high - self.low) / (step * m) <= 6)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def fit(values: Sequence[float], start: float, stop: float, zero: bool = False) -> Scale:
    """A scale that holds the values, with some air; zero: and 0."""
    low, high = min([*values, *([0.0] if zero else [])]), max([*values, *([0.0] if zero else [])])
    air = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return Scale(low - air, high + air, start, stop)


def draw_intervals(marks: Sequence[Mark], title: str) -> str:
    """A row for each mark, about a line at 0."""
    height = TOP + ROW * len(marks) + BOTTOM
    ends = [end for mark in marks for end in (mark.low, mark.high)]
    x = fit(ends, LEFT, WIDTH - RIGHT, zero=True)
    parts = [_axis_below(x, TOP, height - BOTTOM)]
    parts.append(_line(x(0), TOP, x(0), height - BOTTOM, "axis"))
    for row, mark in enumerate(marks):
        y = TOP + ROW * row + ROW / 2
        kind = mark.kind or "ours"
        parts.append(_text(LEFT - 10, y + 4, mark.name, "end"))
        parts.append(_line(x(mark.low), y, x(mark.high), y, kind))
        parts.append(f'<circle class="{kind}" cx="{x(mark.value)}" cy="{y}" r="4"/>')
        parts.append(_text(WIDTH - RIGHT + 8, y + 4, f"{mark.value:+.3f}"))
    return _svg(parts, height, title)


def draw_bars(values: Sequence[float], title: str) -> str:
    """A bar for each value, about a line at 0."""
    height = TOP + BAR_HEIGHT
    y = fit(values, height - 8, TOP, zero=True)
    wide = min((WIDTH - 60) / max(len(values), 1), 24.0)
    parts = []
    for tick in y.ticks():
        parts.append(_line(50, y(tick), WIDTH, y(tick), "rule"))
        parts.append(_text(44, y(tick) + 4, f"{tick:g}", "end"))
    for i, value in enumerate(values):
        top, bottom = sorted((y(value), y(0)))
        kind = "good" if value > 0 else "bad"
        parts.append(
            f'<rect class="{kind}" x="{50 + i * wide:.1f}" y="{top}" width="{wide * 0.8:.1f}" '
            f'height="{max(bottom - top, 0.5):.1f}"/>'
        )
    parts.append(_line(50, y(0), WIDTH, y(0), "axis"))
    return _svg(parts, height, title)


def draw_plane(points: Sequence[tuple[str, float, float]], across: str, up: str) -> str:
    """A named point for each (name, x, y)."""
    x = fit([point[1] for point in points], 60, WIDTH - 150)
    y = fit([point[2] for point in points], PLANE_HEIGHT - 40, TOP)
    parts = [_axis_below(x, TOP, PLANE_HEIGHT - 40)]
    for tick in y.ticks():
        parts.append(_line(60, y(tick), WIDTH - 150, y(tick), "rule"))
        parts.append(_text(54, y(tick) + 4, f"{tick:g}", "end"))
    for name, right, above in points:
        parts.append(f'<circle class="ours" cx="{x(right)}" cy="{y(above)}" r="5"/>')
        parts.append(_text(x(right) + 9, y(above) + 4, name))
    parts.append(_text((60 + WIDTH - 150) / 2, PLANE_HEIGHT - 6, f"{across} →", "middle"))
    return _svg(parts, PLANE_HEIGHT, f"{up} against {across}")


def draw_curves(curves: Sequence[Curve], across: str, up: str) -> str:
    """A line for each curve; a dashed one has the colour of the line before it."""
    points = [point for curve in curves for point in curve.points]
    x = fit([point[0] for point in points], 60, WIDTH - 20)
    y = fit([point[1] for point in points], CURVES_HEIGHT - 40, TOP)
    parts = [_axis_below(x, TOP, CURVES_HEIGHT - 40)]
    for tick in y.ticks():
        parts.append(_line(60, y(tick), WIDTH - 20, y(tick), "rule"))
        parts.append(_text(54, y(tick) + 4, f"{tick:g}", "end"))
    parts.append(_text(WIDTH / 2, CURVES_HEIGHT - 6, f"{across} →", "middle"))
    colour = -1
    for row, curve in enumerate(curves):
        colour += not curve.dashed or row == 0
        stroke = f'stroke="{COLOURS[colour % len(COLOURS)]}"'
        dash = ' stroke-dasharray="6 4"' if curve.dashed else ""
        drawn = " ".join(f"{x(right)},{y(above)}" for right, above in curve.points)
        parts.append(f'<polyline fill="none" stroke-width="2" {stroke}{dash} points="{drawn}"/>')
        for right, above in curve.points:
            said = html.escape(f"{curve.name}: {right:.3f}, {above:.3f}")
            mark = f'cx="{x(right)}" cy="{y(above)}" r="3" fill="none" {stroke}'
            parts.append(f"<circle {mark}><title>{said}</title></circle>")
        at = CURVES_HEIGHT + LEGEND_ROW * row
        parts.append(f'<path fill="none" stroke-width="2" {stroke}{dash} d="M60 {at + 8}h40"/>')
        parts.append(f'<text x="110" y="{at + 12}">{html.escape(curve.name)}</text>')
    return _svg(parts, CURVES_HEIGHT + LEGEND_ROW * len(curves), f"{up} against {across}")


def _axis_below(x: Scale, top: float, bottom: float) -> str:
    parts = []
    for tick in x.ticks():
        parts.append(_line(x(tick), top, x(tick), bottom, "rule"))
        parts.append(_text(x(tick), bottom + 16, f"{tick:g}", "middle"))
    return "".join(parts)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" stroke-width="2" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    shown = text if len(text) <= 28 else text[:27] + "…"
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{html.escape(shown)}</text>'


def _svg(parts: Sequence[str], height: float, title: str) -> str:
    named = html.escape(title)
    head = f'<text x="0" y="14" font-weight="600">{named}</text>'
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-label="{named}">{head}{"".join(parts)}</svg>'
    )
