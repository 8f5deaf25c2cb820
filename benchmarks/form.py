"""The form all benchmarks share: their rows, the hardware, how both are printed.

Every script runs as `python -m benchmarks.<folder>.<name>`. With `--json` it prints one object,
`{"hardware": {...}, "rows": [...]}`; without, a table for people. Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from es_rerank.errors import EsRerankError

Better = Literal["higher", "lower"]
FILE_WIDTH = 140  # columns of a table that is not printed on a terminal


@dataclass(frozen=True)
class Spread:
    """How far a figure may be off: the interval [low, high] of what `of` names."""

    low: float
    high: float
    of: str


@dataclass(frozen=True)
class Row:
    """One figure beside its rival's, both in `unit`, over `n` queries or repetitions.

    `ratio` above 1 always means that ours is better; None where it is undefined. `gate` marks a
    figure that is promised.
    """

    what: str
    ours: float
    rival: str
    theirs: float
    unit: str
    ratio: float | None
    n: int
    spread: Spread | None
    gate: bool = False


def compare_row(
    what: str,
    *,
    ours: float,
    rival: str,
    theirs: float,
    unit: str,
    better: Better,
    n: int,
    spread: Spread | None = None,
    gate: bool = False,
) -> Row:
    """Make a row; `better` says whether more or less of the unit is the better."""
    numbers = [ours, theirs, *((spread.low, spread.high) if spread else ())]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"The row {what!r} has a figure that is not finite: {numbers}.")
    above, below = (ours, theirs) if better == "higher" else (theirs, ours)
    ratio = above / below if below > 0 else None
    return Row(what, ours, rival, theirs, unit, ratio, n, spread, gate)


def parser(description: str) -> argparse.ArgumentParser:
    """The options every benchmark has; the script adds its own."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true", help="print one JSON object, not a table")
    options.add_argument(
        "--out", type=Path, metavar="FILE", help="write the JSON object to FILE as well"
    )
    return options


def publish(rows: Sequence[Row], options: argparse.Namespace, title: str) -> None:
    """Print the rows as `options` ask, and write them to `--out`."""
    machine = hardware()
    text = as_json(rows, machine)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    if options.json:
        print(text)
    else:
        print_table(rows, machine, title)


def run(main: Any) -> None:
    """Run a benchmark's main function; an error meant for a user ends it without a traceback."""
    try:
        main()
    except EsRerankError as error:
        say(f"Error: {error}")
        sys.exit(error.exit_code)


def as_json(rows: Sequence[Row], machine: Mapping[str, Any]) -> str:
    """The one JSON object of a benchmark."""
    result = {"hardware": dict(machine), "rows": [asdict(row) for row in rows]}
    return json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)


def print_table(
    rows: Sequence[Row],
    machine: Mapping[str, Any],
    title: str,
    console: Console | None = None,
) -> None:
    """Print the rows for people: an overview where runs share measures, then every row."""
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, FILE_WIDTH)
    overview = make_overview(rows, title)
    if overview is not None:
        console.print(overview)
    rivals = list(dict.fromkeys(row.rival for row in rows))
    shown = [] if len(rivals) == 1 else ["rival"]
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for heading in ("what", "ours", "theirs", *shown, "unit", "ratio", "n", "interval", "gate"):
        number = heading in ("ours", "theirs", "ratio", "n", "interval")
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(
            row.what,
            _figure(row.ours),
            _figure(row.theirs),
            *([row.rival] if shown else []),
            row.unit,
            "–" if row.ratio is None else f"{row.ratio:.3f}",
            str(row.n),
            f"{_figure(row.spread.low)} … {_figure(row.spread.high)}" if row.spread else "–",
            "gate" if row.gate else "",
        )
    console.print(table)
    if not shown:
        _print_line(console, f"theirs: {rivals[0]}" if rivals else "no rows")
    for kind in dict.fromkeys(row.spread.of for row in rows if row.spread):
        _print_line(console, f"interval: {kind}")
    described = [f"{key} {value}" for key, value in machine.items() if value is not None]
    _print_line(console, ", ".join(described))


def make_overview(rows: Sequence[Row], title: str) -> Table | None:
    """One line a run and one column a measure, from rows named `RUN | MEASURE`.

    None where no two runs share a measure.
    """
    lines: dict[str, dict[str, str]] = {}
    columns: dict[str, int] = {}
    for row in rows:
        name, bar, measure = row.what.partition(" | ")
        if bar:
            lines.setdefault(name, {})[measure] = _figure(row.ours)
            columns[measure] = columns.get(measure, 0) + 1
    if max(columns.values(), default=0) < 2:
        return None
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("run", overflow="fold")
    for measure in columns:
        heading = measure.replace(" | ", "\n")
        table.add_column(heading, justify="right", min_width=max(map(len, heading.split())))
    for name, cells in lines.items():
        table.add_row(name, *(cells.get(measure, "–") for measure in columns))
    return table


def _print_line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """A line of progress on stderr."""
    print(message, file=sys.stderr, flush=True)


def hardware() -> dict[str, Any]:
    """The machine and the versions that figures depend on; None for what cannot be found out."""
    return {
        "cpu": _cpu_model(),
        "cores": _usable_cores(),
        "memory_gib": _memory_gib(),
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": _version("torch"),
        "es_rerank": _version("es-rerank"),
    }


def _figure(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


def _cpu_model() -> str | None:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    except OSError:
        return _said(["sysctl", "-n", "machdep.cpu.brand_string"])
    return platform.processor() or None


def _usable_cores() -> int:
    """The cores this process may run on, which a container may hold below the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> float | None:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    return round(size / 2**30, 1)


def _gpu() -> str | None:
    found = _said(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return ", ".join(found.splitlines()) if found else None


def _said(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
