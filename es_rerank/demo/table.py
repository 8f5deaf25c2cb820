"""The demonstration's lists side by side, for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from es_rerank.demo.showing import Hit, Showing, Side, average

SIDE_BY_SIDE = 110
"""Columns from which two lists fit beside each other."""
PIPED = 150
"""Columns of a table that nobody's terminal limits."""


def make_console() -> Console:
    """A console on stdout: as wide as the terminal, wide enough for both lists where piped."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, PIPED))


def print_showings(
    console: Console, showings: Sequence[Showing], engine: str, note: str = ""
) -> None:
    """Print each query's two lists, beside each other where there is room, then the means."""
    for showing in showings:
        before, after = (f"before: {engine}", showing.before), ("after: es-rerank", showing.after)
        groups = [[before, after]] if console.width >= SIDE_BY_SIDE else [[before], [after]]
        console.print()
        console.print(f"[bold]“{escape(showing.query)}”[/bold]")
        for group in groups:
            console.print(lists(group, showing.before))
    console.print()
    console.print(summary(showings))
    if note:
        console.print(f"[dim]{escape(note)}[/dim]")


def lists(group: Sequence[tuple[str, Side]], first: Side) -> Table:
    """Lists of ten beside each other, their measures below, and where a hit was in `first`."""
    table = Table(box=None, expand=True, padding=(0, 1), show_footer=True)
    table.add_column("", justify="right", style="dim")
    for name, side in group:
        table.add_column(name, ratio=6, no_wrap=True, overflow="ellipsis", footer=measures(side))
        table.add_column("brand", ratio=2, no_wrap=True, overflow="ellipsis", style="cyan")
        table.add_column("price", justify="right", no_wrap=True)
    table.add_column("was", justify="right", style="green")
    was = {hit.id: place for place, hit in enumerate(first.hits, 1)}
    for place in range(max(len(side.hits) for _, side in group)):
        row = [side.hits[place] if place < len(side.hits) else None for _, side in group]
        last = row[-1]
        moved = "" if last is None else str(was.get(last.id, f">{len(first.hits)}"))
        table.add_row(str(place + 1), *(cell for hit in row for cell in cells(hit)), moved)
    return table


def cells(hit: Hit | None) -> tuple[str, str, str]:
    """Title, brand and price of a hit, empty where there is none."""
    if hit is None:
        return "", "", ""
    return escape(hit.title), escape(hit.brand), "" if hit.price is None else f"{hit.price:,.2f}"


def measures(side: Side) -> str:
    """A list's measures on one line."""
    return f"nDCG {side.ndcg10:.3f} · ILD {side.ild10:.3f} · brands {side.brands10}"


def summary(showings: Sequence[Showing]) -> Table:
    """The means, one row a list."""
    means = average(showings)
    table = Table(title=f"means over {len(showings)} queries", title_justify="left")
    table.add_column("")
    for name in ("nDCG@10", "ILD@10", "brands in top 10", "added ms"):
        table.add_column(name, justify="right")
    for side, added in (("before", ""), ("after", f"{means['added_ms']:.1f}")):
        row = means[side]
        table.add_row(
            side, f"{row['ndcg10']:.3f}", f"{row['ild10']:.3f}", f"{row['brands10']:.1f}", added
        )
    return table
