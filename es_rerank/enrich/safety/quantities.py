"""Numbers and quantities in texts: what they are worth, whichever way they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

NUMBER = re.compile(r"(?<![A-Za-z\d])\d+(?:[.,'’\u00a0\u202f]\d+)*")
FRACTIONS = str.maketrans({"½": ".5", "¼": ".25", "¾": ".75"})
TOLERANCE = 0.02  # of a quantity that was converted: 15.6 in are 40 cm

LENGTH, MASS, VOLUME, POWER, VOLTAGE, CURRENT = "length", "mass", "volume", "power", "voltage", "A"
CHARGE, ENERGY, RATE, DATA, TIME, PRESSURE = "charge", "energy", "rate", "data", "time", "pressure"
# By dimension: each unit's names, and how many of the dimension's own unit it is.
UNITS: dict[str, dict[str, float]] = {
    LENGTH: {
        **{"mm millimetre millimetres millimeter millimeters 毫米": 0.001},
        **{"cm centimetre centimetres centimeter centimeters 厘米 公分": 0.01},
        **{"m metre metres meter meters 米": 1.0, "km kilometre kilometres 公里 千米": 1000.0},
        **{
            "in inch inches zoll 英寸 吋": 0.0254,
            "ft foot feet 英尺": 0.3048,
            "yd yard yards": 0.9144,
        },
    },
    MASS: {
        **{
            "mg 毫克": 1e-6,
            "g gram grams gramm grammes 克": 0.001,
            "oz ounce ounces 盎司": 0.02835,
        },
        **{"kg kilo kilos kilogram kilograms kilogramm 公斤 千克": 1.0, "斤": 0.5},
        **{"lb lbs pound pounds 磅": 0.45359, "t tonne tonnes 吨": 1000.0},
    },
    VOLUME: {
        **{"ml millilitre millilitres milliliter milliliters 毫升": 0.001, "cl": 0.01, "dl": 0.1},
        **{"l litre litres liter liters 升": 1.0, "gal gallon gallons 加仑": 3.785},
    },
    POWER: {
        "mw": 1e-3,
        "w watt watts 瓦": 1.0,
        "kw kilowatt kilowatts 千瓦": 1e3,
        "hp ps 马力": 740.0,
    },
    VOLTAGE: {"v volt volts 伏": 1.0, "kv": 1000.0},
    CURRENT: {"ma": 0.001, "a amp amps ampere 安": 1.0},
    CHARGE: {"mah 毫安时 毫安": 0.001, "ah": 1.0},
    ENERGY: {"wh": 1.0, "kwh 度电": 1000.0, "j joule": 1 / 3600},
    RATE: {"hz 赫兹": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9, "rpm": 1 / 60},
    DATA: {"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12},
    TIME: {
        **{"ms": 0.001, "s sec secs second seconds 秒": 1.0, "min mins minute minutes 分钟": 60.0},
        **{"h hr hrs hour hours stunde stunden 小时": 3600.0, "day days tag tage 天": 86400.0},
        **{"week weeks woche wochen 周": 604800.0, "month months monat monate 个月": 2629800.0},
        **{"year years jahr jahre 年": 31557600.0},
    },
    PRESSURE: {"pa": 1.0, "kpa": 1e3, "bar": 1e5, "psi": 6895.0},
    "percent": {"% percent prozent": 1.0},
    "celsius": {"°c ℃ 摄氏度": 1.0},
    "fahrenheit": {"°f ℉": 1.0},
    "pixels": {"mp megapixel megapixels 像素 万像素": 1.0},
    "resolution": {"dpi": 1.0},
    "light": {"lm lumen lumens 流明": 1.0},
    "loudness": {"db dba 分贝": 1.0},
    "money": {"€ eur euro euros": 1.0},
    "dollars": {"$ usd dollar dollars": 1.0},
    "pounds sterling": {"£ gbp": 1.0},
    "yuan": {"¥ cny rmb yuan 元": 1.0},
}
KNOWN = {
    name: (dimension, factor)
    for dimension, units in UNITS.items()
    for names, factor in units.items()
    for name in names.split()
}
WIDE_UNITS = sorted((name for name in KNOWN if not name.isascii()), key=len, reverse=True)
UNIT = re.compile(
    r"[\s\-\u00a0\u202f]?("
    + "|".join(map(re.escape, WIDE_UNITS))
    + r"|%|[A-Za-z]{1,11}(?![A-Za-z]))"
)
INCHES = re.compile(r"\s?(?:\"|″|''|”)")
BEFORE = re.compile(r"([€$£¥])\s?$")
SPELLED = {
    **{"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9},
    **{"ten": 10, "eleven": 11, "twelve": 12},
}
WORD = re.compile(r"\b(" + "|".join(SPELLED) + r")\b", re.I)
WIDE_DIGITS = dict(zip("二三四五六七八九十", range(2, 11), strict=True)) | {"两": 2}
WIDE_NUMBER = re.compile(
    r"(?<![一-十百千万])([两二三四五六七八九十])(?=[个只件双年天层档色种口人台套支瓶片包级倍小])"
)


@dataclass(frozen=True)
class Quantity:
    """A number as it was written, what it may be worth, and its unit where one follows.

    values: more than one where a point may part thousands or decimals.
    """

    text: str
    values: frozenset[float]
    unit: tuple[str, float] | None = None

    def worth(self) -> Iterator[float]:
        """What it may be worth in its dimension's own unit."""
        factor = 1.0 if self.unit is None else self.unit[1]
        return (value * factor for value in self.values)


def find_quantities(text: str) -> list[Quantity]:
    """Every number in a text, those that are spelled out as words too."""
    if not text.isascii():
        text = text.translate(FRACTIONS)
    found = []
    for match in NUMBER.finditer(text):
        rest = text[match.end() : match.end() + 16]
        unit = UNIT.match(rest)
        known = KNOWN.get(unit[1].casefold()) if unit else None
        if known is None and INCHES.match(rest):
            known = KNOWN["in"]
        if known is None and (sign := BEFORE.search(text, 0, match.start())):
            known = KNOWN[sign[1]]
        shown = match[0] + (unit[0] if unit and known else "")
        found.append(Quantity(shown, read_number(match[0]), known))
    found += [
        Quantity(match[0], frozenset({float(SPELLED[match[0].lower()])}))
        for match in WORD.finditer(text)
    ]
    if not text.isascii():
        found += [
            Quantity(match[0], frozenset({float(WIDE_DIGITS[match[1]])}))
            for match in WIDE_NUMBER.finditer(text)
        ]
    return found


def read_number(written: str) -> frozenset[float]:
    """What a number may be worth: `1.500` is one and a half, or fifteen hundred."""
    plain = re.sub(r"['’\u00a0\u202f]", "", written)
    marks = [char for char in plain if char in ".,"]
    if not marks:
        return frozenset({float(plain)})
    whole, _, last = plain.rpartition(marks[-1])
    digits = re.sub(r"[.,]", "", whole)
    values = set()
    if marks.count(marks[-1]) == 1:
        values.add(float(f"{digits}.{last}"))
    if len(last) == 3 and len(set(marks)) == 1:
        values.add(float(digits + last))
    if not values:  # 1.2.3: a version, or a date
        values.add(float(digits + last))
    return frozenset(values)


def find_unfounded(text: str, source: str) -> Iterator[tuple[str, str]]:
    """Yield (`number` or `unit`, as written) for each quantity in a text that a source lacks."""
    wanted = find_quantities(text)
    if not wanted:
        return
    known = find_quantities(source)
    for quantity in wanted:
        if any(_is_founded(quantity, other) for other in known):
            continue
        same = any(quantity.values & other.values for other in known)
        yield ("unit" if same else "number"), quantity.text


def _is_founded(quantity: Quantity, other: Quantity) -> bool:
    if quantity.unit is None or quantity.unit == other.unit:
        return bool(quantity.values & other.values)
    if other.unit is None or quantity.unit[0] != other.unit[0]:
        return False
    return any(
        abs(one - two) <= TOLERANCE * abs(two) for one in quantity.worth() for two in other.worth()
    )
