"""The demonstration's lists side by side, for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from es_rerank.demo.showing import Hit, Showing, Side, average

NARROW = 100


def print_showings(console: Console, showings: Sequence[Showing], engine: str) -> None:
    """Print each query's two lists, then the means."""
    for showing in showings:
        console.print()
        console.print(f"[bold]“{escape(showing.query)}”[/bold]")
        console.print(lists(showing, engine, console.width))
    console.print()
    console.print(summary(showings))


def lists(showing: Showing, engine: str, width: int) -> Table:
    """Two lists of ten beside each other, with their measures below."""
    table = Table(box=None, expand=width > NARROW, padding=(0, 1), show_footer=True)
    table.add_column("", justify="right", style="dim")
    for side, name in ((showing.before, f"before: {engine}"), (showing.after, "after: es-rerank")):
        table.add_column(name, ratio=6, no_wrap=True, overflow="ellipsis", footer=measures(side))
        table.add_column("brand", ratio=2, no_wrap=True, overflow="ellipsis", style="cyan")
        table.add_column("price", justify="right", no_wrap=True)
    table.add_column("was", justify="right", style="green")
    was = {hit.id: place for place, hit in enumerate(showing.before.hits, 1)}
    for place in range(max(len(showing.before.hits), len(showing.after.hits))):
        after = showing.after.hits[place] if place < len(showing.after.hits) else None
        before = showing.before.hits[place] if place < len(showing.before.hits) else None
        moved = "" if after is None else str(was.get(after.id, f">{len(showing.before.hits)}"))
        table.add_row(str(place + 1), *cells(before), *cells(after), moved)
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
