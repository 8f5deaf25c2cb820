"""Show how far a long run is, on stderr: a bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, Task
    from rich.text import Text

LINE_EVERY_S = 5.0


class Meter(Protocol):
    """Something that shows progress."""

    def show(self, done: int) -> None:
        """Show that `done` are done by now, of the total."""


@contextmanager
def show_progress(label: str, total: int, unit: str, *, quiet: bool = False) -> Iterator[Meter]:
    """Show a rate and the time left until the block ends; NO_COLOR is honoured by rich."""
    if quiet:
        yield _Silence()
        return
    # rich is imported only where it is seen: a short command should not wait for it.
    if not sys.stderr.isatty() and "FORCE_COLOR" not in os.environ:
        yield _Lines(label, total, unit)
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(label, total, unit)
        return
    with open_bar(console, unit) as progress:
        yield _Bar(progress, label, total)


def open_bar(console: Console, unit: str) -> Progress:
    """A bar with the rate and the time left."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            rate = task.completed / task.elapsed if task.elapsed else 0
            return Text(f"{rate:,.0f} {unit}/s")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


class _Silence:
    def show(self, done: int) -> None:
        """Show nothing."""


class _Bar:
    def __init__(self, progress: Progress, label: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=total)

    def show(self, done: int) -> None:
        self._progress.update(self._task, completed=done)


@dataclass
class _Lines:
    label: str
    total: int
    unit: str
    started: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)

    def show(self, done: int) -> None:
        now = time.monotonic()
        if now - self.told < LINE_EVERY_S and done < self.total:
            return
        self.told = now
        rate = done / max(now - self.started, 1e-9)
        share = done / self.total if self.total else 1.0
        left = max(self.total - done, 0) / rate if rate else 0.0
        click.echo(
            f"{self.label}: {done:,}/{self.total:,} ({share:.0%}), {rate:,.0f} {self.unit}/s, "
            f"{format_duration(left)} left",
            err=True,
        )


def format_duration(seconds: float) -> str:
    """Write a duration as people read it: 42 s, 3 min 07 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
