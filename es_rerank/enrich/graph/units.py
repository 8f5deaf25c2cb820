"""Quantities as shops write them (`15.6"`, `1 TB`, `500毫升`, `weight_g: 240`) in one unit each.

A table of our own: pint parses one quantity in the time in which a whole product is read here, and
knows neither `inch` marks nor 毫升.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

# dimension: canonical unit, then unit -> factor to it
TABLE: dict[str, tuple[str, dict[str, float]]] = {
    "memory": ("GB", {
        "kb": 1e-6, "mb": 1e-3, "gb": 1.0, "tb": 1000.0, "go": 1.0, "mo": 1e-3, "gigabyte": 1.0,
        "terabyte": 1000.0, "gigabytes": 1.0, "terabytes": 1000.0,
    }),
    "length": ("cm", {
        "μm": 1e-4, "um": 1e-4, "mm": 0.1, "cm": 1.0, "dm": 10.0, "m": 100.0, "meter": 100.0,
        "meters": 100.0, "metre": 100.0, "metres": 100.0, "inch": 2.54, "inches": 2.54, "in": 2.54,
        '"': 2.54, "''": 2.54, "”": 2.54, "″": 2.54, "zoll": 2.54, "ft": 30.48, "feet": 30.48,
        "foot": 30.48, "ft.": 30.48, "毫米": 0.1, "厘米": 1.0, "公分": 1.0, "米": 100.0,
        "英寸": 2.54, "寸": 2.54,
    }),
    "weight": ("g", {
        "mg": 1e-3, "g": 1.0, "gr": 1.0, "gram": 1.0, "grams": 1.0, "kg": 1000.0, "kgs": 1000.0,
        "kilo": 1000.0, "oz": 28.3495, "lb": 453.592, "lbs": 453.592, "pound": 453.592,
        "pounds": 453.592, "克": 1.0, "千克": 1000.0, "公斤": 1000.0, "斤": 500.0,
    }),
    "volume": ("ml", {
        "ml": 1.0, "cl": 10.0, "dl": 100.0, "l": 1000.0, "lt": 1000.0, "liter": 1000.0,
        "liters": 1000.0, "litre": 1000.0, "litres": 1000.0, "fl oz": 29.5735, "gal": 3785.41,
        "gallon": 3785.41, "毫升": 1.0, "升": 1000.0,
    }),
    "power": ("W", {"mw": 1e-3, "w": 1.0, "kw": 1000.0, "watt": 1.0, "watts": 1.0, "瓦": 1.0}),
    "charge": ("mAh", {"mah": 1.0, "ah": 1000.0, "毫安": 1.0, "安时": 1000.0}),
    "voltage": ("V", {"mv": 1e-3, "v": 1.0, "kv": 1000.0, "volt": 1.0, "volts": 1.0, "伏": 1.0}),
    "frequency": ("Hz", {"hz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9, "赫兹": 1.0}),
    "angle": ("°", {"°": 1.0, "deg": 1.0, "degree": 1.0, "degrees": 1.0, "度": 1.0}),
    "temperature": ("°C", {"°c": 1.0, "celsius": 1.0, "摄氏度": 1.0}),
    "light": ("lm", {"lm": 1.0, "lumen": 1.0, "lumens": 1.0, "流明": 1.0}),
    "pixels": ("MP", {"mp": 1.0, "megapixel": 1.0, "megapixels": 1.0, "万像素": 0.01}),
    "density": ("dpi", {"dpi": 1.0, "ppi": 1.0}),
    "time": ("min", {
        "s": 1 / 60, "sec": 1 / 60, "seconds": 1 / 60, "min": 1.0, "minute": 1.0, "minutes": 1.0,
        "h": 60.0, "hr": 60.0, "hrs": 60.0, "hour": 60.0, "hours": 60.0, "小时": 60.0, "分钟": 1.0,
    }),
    "pressure": ("bar", {"bar": 1.0, "psi": 0.0689476, "巴": 1.0}),
    "torque": ("Nm", {"nm": 1.0}),
    "loudness": ("dB", {"db": 1.0, "分贝": 1.0}),
    "rate": ("Mbit/s", {
        "mbps": 1.0, "mbit/s": 1.0, "gbps": 1000.0, "gbit/s": 1000.0, "kbps": 1e-3,
    }),
    "count": ("pieces", {
        "pc": 1.0, "pcs": 1.0, "pc(s)": 1.0, "piece": 1.0, "pieces": 1.0, "pack": 1.0, "pk": 1.0,
        "pages": 1.0, "sheets": 1.0, "片": 1.0, "件": 1.0, "粒": 1.0, "个": 1.0, "支": 1.0,
    }),
}  # fmt: skip
UNITS = {
    name: (dimension, factor)
    for dimension, (_, units) in TABLE.items()
    for name, factor in units.items()
}
CANONICAL = {dimension: unit for dimension, (unit, _) in TABLE.items()}
AXES = frozenset({"memory", "length", "weight", "volume", "charge", "count"})
"""What may differ between variants of one model; a drill of another voltage is another drill."""

SPELT_UNITS = {
    "weight_g": "g", "weight_kg": "kg", "height_cm": "cm", "width_cm": "cm", "length_cm": "cm",
    "capacity_l": "l", "capacity_ml": "ml", "volume_ml": "ml", "power_w": "w",
    "screen_inch": "inch",
    "display_diagonal": "inch", "memory_gb": "gb", "storage_gb": "gb", "internal_memory": "gb",
    "capacity": "gb", "cable_length": "m", "voltage_v": "v", "battery_mah": "mah", "drop_mm": "mm",
    "refresh_hz": "hz", "camera_mp": "mp", "thickness_mm": "mm", "output_power": "w",
    "ports_w": "w",
}  # fmt: skip
"""What a shopper writes after the number of such an attribute."""

_SPELT = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
NUMBER = r"\d+(?:[.,]\d+)?"
WHOLE = re.compile(rf"\s*([-+]?{NUMBER})\s*({_SPELT})?\.?\s*", re.IGNORECASE)
INSIDE = re.compile(rf"(?<![\w.,-])({NUMBER})[\s-]?({_SPELT})(?![a-z0-9°])", re.IGNORECASE)
"""A number and its unit inside a text."""


@dataclass(frozen=True)
class Quantity:
    """A value in the canonical unit of its dimension; dimension "" for a bare number."""

    value: float
    dimension: str

    @property
    def unit(self) -> str:
        """The canonical unit."""
        return CANONICAL.get(self.dimension, "")


def read_quantity(value: Any, name: str = "") -> Quantity | None:
    """A value that is a quantity as a whole; None for any other.

    name: of the attribute, whose last word may be the unit (`weight_g`), or which is known to be
    meant in one (`display_diagonal`).
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        number, unit = float(value), ""
    else:
        found = WHOLE.fullmatch(str(value))
        if found is None:
            return None
        number, unit = read_number(found[1]), (found[2] or "").casefold()
    if unit not in UNITS:
        last = name.rpartition("_")[2].casefold()
        known = SPELT_UNITS.get(name, last if "_" in name else "")
        unit = known
    if unit not in UNITS:
        return Quantity(number, "")
    dimension, factor = UNITS[unit]
    return Quantity(round(number * factor, 6), dimension)


def read_number(text: str) -> float:
    """A number with a point or a comma; `1,000` is a thousand."""
    head, comma, tail = text.partition(",")
    if comma and len(tail) == 3 and "." not in text and head.lstrip("+-") not in {"", "0"}:
        return float(head + tail)
    return float(text.replace(",", "."))


def bare_name(name: str) -> str:
    """An attribute's name without the unit at its end: `weight_g` is `weight`."""
    head, _, last = name.rpartition("_")
    return head if head and last.casefold() in UNITS else name


def show_quantity(value: float, unit: str) -> str:
    """A quantity for people: 1 TB, not 1000 GB, stays out of it: one unit, always."""
    number = f"{value:.6g}"
    return f"{number} {unit}" if unit else number
