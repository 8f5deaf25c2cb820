"""The report for a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from es_rerank.evaluation.report import Report
from es_rerank.evaluation.scoring import Summary
from es_rerank.evaluation.verdict import describe

PIPE_WIDTH = 110


def print_report(report: Report, console: Console | None = None) -> None:
    """Print a line for each measure, a column for each run, then what must be known."""
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
    table = Table(title=escape(report.title), title_justify="left", box=SIMPLE_HEAD)
    table.add_column("")
    for name in report.runs:
        table.add_column(escape(name), justify="right")
    for measure in report.measures:
        summaries = [report.summary(name, measure.name) for name in report.runs]
        if any(summaries):
            cells = [cell(summary, measure.better == "lower") for summary in summaries]
            table.add_row(escape(measure.name), *cells)
    for key, heading in (("median_ms", "page of 10, ms, median"), ("p95_ms", "… 95th percentile")):
        found = [report.latency(name) or {} for name in report.runs]
        if any(found):
            table.add_row(heading, *(f"{one[key]:.1f}" if one else "–" for one in found))
    console.print(table)

    def line(text: str, style: str = "") -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True, style=style)

    line(
        f"In brackets the 95 % interval of the difference to {report.rival} over the queries; "
        "* where it does not hold 0."
    )
    if report.view and any(measure.kind == "ILD" for measure in report.measures):
        line(f"ILD compares {report.view}.")
    for note in report.notes:
        line(f"Note: {note}")
    if report.verdict is not None:
        line(describe(report.verdict), "bold")


def cell(summary: Summary | None, lower: bool = False) -> str:
    """A mean with the interval of its difference; green where clearly better, red where worse."""
    if summary is None:
        return "–"
    text = f"{summary.mean:.3f}"
    found = summary.against
    if found is None:
        return text
    shown = f"{text} ({found.low:+.3f} … {found.high:+.3f})"
    if found.low <= 0 <= found.high:
        return shown
    good = (found.low > 0) != lower
    return f"[{'green' if good else 'red'}]{shown}*[/]"
