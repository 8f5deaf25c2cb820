"""Show how far a long run is, on stderr: a bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

LINE_EVERY_S = 5.0


class Meter(Protocol):
    """Something that shows progress."""

    def show(self, done: int) -> None:
        """Show that `done` are done by now, of the total."""


@contextmanager
def show_progress(label: str, total: int, unit: str, *, quiet: bool = False) -> Iterator[Meter]:
    """Show a rate and the time left until the block ends; NO_COLOR is honoured by rich."""
    console = Console(stderr=True)
    if quiet:
        yield _Silence()
    elif not console.is_terminal:
        yield _Lines(label, total, unit)
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(unit),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as progress:
            yield _Bar(progress, label, total)


class _Silence:
    def show(self, done: int) -> None:
        """Show nothing."""


class _Bar:
    def __init__(self, progress: Progress, label: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=total)

    def show(self, done: int) -> None:
        self._progress.update(self._task, completed=done)


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed / task.elapsed if task.elapsed else 0:,.0f} {self._unit}/s")


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
