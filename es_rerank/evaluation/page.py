"""The report as one HTML page: no script, no font, no picture from elsewhere; plots are SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from es_rerank.evaluation.plot import Mark, draw_bars, draw_intervals, draw_plane
from es_rerank.evaluation.report import Report
from es_rerank.evaluation.verdict import describe

SHOWN_QUERIES = 15
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --good: #2a7d46; --bad: #b3362c;
  --ours: #2f5bd0; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2.2rem }
.verdict { border-left: .3rem solid var(--ours); padding: .4rem .8rem; background: var(--soft) }
.helps { border-color: var(--good) } .does-not-help { border-color: var(--bad) }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--line) }
th:first-child, td:first-child { text-align: left } small { opacity: .75; display: block }
.good { color: var(--good) } .bad { color: var(--bad) }
svg { max-width: 100%; height: auto; font: 12px system-ui, sans-serif; fill: currentColor }
svg .rule { stroke: var(--line) } svg .axis { stroke: currentColor; stroke-opacity: .5 }
svg .ours { fill: var(--ours); stroke: var(--ours) } svg .good { fill: var(--good);
  stroke: var(--good) } svg .bad { fill: var(--bad); stroke: var(--bad) }
"""


def write_page(report: Report) -> str:
    """The whole page."""
    parts = [
        _verdict(report),
        f"<p>{len(report.queries)} queries. In small the 95 % interval of the difference to "
        f"<b>{html.escape(report.rival)}</b>, by the bootstrap over queries; coloured where it "
        "does not hold 0.</p>",
        _measures(report),
        _notes(report),
        _differences(report),
        _planes(report),
        _queries(report),
    ]
    return wrap_page(report.title, "\n".join(part for part in parts if part))


def wrap_page(title: str, body: str) -> str:
    """A whole page with its heading; body: HTML."""
    named = html.escape(title)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        f"<title>{named}</title><style>{STYLE}</style></head><body>\n<h1>{named}</h1>\n{body}\n"
        "</body></html>\n"
    )


def _verdict(report: Report) -> str:
    if report.verdict is None:
        return ""
    said = html.escape(describe(report.verdict))
    return f'<p class="verdict {report.verdict.finding}"><b>{said}</b></p>'


def _measures(report: Report) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in report.runs)
    rows = []
    for measure in report.measures:
        summaries = [report.summary(name, measure.name) for name in report.runs]
        if not any(summaries):
            continue
        cells = []
        for summary in summaries:
            if summary is None:
                cells.append("<td>–</td>")
                continue
            small = f"<small>{summary.low:.3f} … {summary.high:.3f}</small>"
            kind = ""
            if (found := summary.against) is not None:
                small = f"<small>{found.low:+.3f} … {found.high:+.3f}</small>"
                kind = colour(found.low, found.high, measure.better == "lower")
            cells.append(f'<td class="{kind}">{summary.mean:.3f}{small}</td>')
        meaning = html.escape(measure.meaning)
        name = html.escape(measure.name)
        rows.append(f"<tr><td>{name}<small>{meaning}</small></td>{''.join(cells)}</tr>")
    for key, heading in (("median_ms", "page of 10, median"), ("p95_ms", "95th percentile")):
        found_ms = [report.latency(name) or {} for name in report.runs]
        if any(found_ms):
            shown = (f"{one[key]:.1f} ms" if one else "–" for one in found_ms)
            cells = [f"<td>{text}</td>" for text in shown]
            rows.append(f"<tr><td>{heading}</td>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table><tr><th></th>{head}</tr>\n'
        + "\n".join(rows)
        + "</table></div>"
    )


def _notes(report: Report) -> str:
    notes = [*report.notes, *([f"ILD compares {report.view}."] if report.view else [])]
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f"<ul>{items}</ul>" if items else ""


def _differences(report: Report) -> str:
    """A plot for each measure: every run's difference to the rival with its interval."""
    parts = []
    for measure in report.measures:
        marks = []
        for name in report.runs:
            summary = report.summary(name, measure.name)
            if summary is not None and (found := summary.against) is not None:
                kind = colour(found.low, found.high, measure.better == "lower")
                marks.append(Mark(name, found.difference, found.low, found.high, kind))
        if marks:
            better = ", lower is better" if measure.better == "lower" else ""
            title = f"{measure.name}, difference to {report.rival}{better}"
            parts.append(draw_intervals(marks, title))
    return "<h2>Differences</h2>" + "".join(parts) if parts else ""


def _planes(report: Report) -> str:
    """What variety costs in relevance: a point for each run."""
    relevance = next((m for m in report.measures if m.kind == "nDCG"), None)
    variety = next((m for m in report.measures if m.kind == "ILD"), None)
    if relevance is None or variety is None:
        return ""
    points = [
        (name, x.mean, y.mean)
        for name in report.runs
        if (x := report.summary(name, variety.name)) and (y := report.summary(name, relevance.name))
    ]
    if len(points) < 2:
        return ""
    return "<h2>Relevance and variety</h2>" + draw_plane(points, variety.name, relevance.name)


def _queries(report: Report) -> str:
    """Who gained and who lost, for each run that has a rival."""
    first = next(iter(report.measures), None)
    if first is None:
        return ""
    parts = []
    for name in report.runs:
        ours = report.scores.by_query.get(name, {}).get(first.name, {})
        theirs = report.scores.by_query.get(report.rival, {}).get(first.name, {})
        gains = sorted(
            (ours[q] - theirs[q], q)
            for q in ours
            if q in theirs and math.isfinite(ours[q]) and math.isfinite(theirs[q])
        )
        if name == report.rival or not gains:
            continue
        title = f"{name}: {first.name} by query, less that of {report.rival}"
        parts.append(draw_bars([gain for gain, _ in gains], title))
        losers = [pair for pair in gains if pair[0] < 0][:SHOWN_QUERIES]
        winners = [pair for pair in reversed(gains) if pair[0] > 0][:SHOWN_QUERIES]
        parts += [
            _query_table(report, name, "lost most", losers),
            _query_table(report, name, "gained most", winners),
        ]
    return "<h2>Queries</h2>" + "".join(parts) if parts else ""


def _query_table(report: Report, run: str, what: str, pairs: Sequence[tuple[float, str]]) -> str:
    if not pairs:
        return ""
    rows = []
    for gain, query in pairs:
        lists = []
        for name in (report.rival, run):
            shown = list(report.runs[name].rankings.get(query, ()))[:5]
            titles = "".join(f"<li>{html.escape(report.titles.get(d, d)[:90])}</li>" for d in shown)
            lists.append(f"<td style='text-align:left'><ol>{titles}</ol></td>")
        words = html.escape(report.queries.get(query, query))
        rows.append(f"<tr><td>{words}<small>{gain:+.3f}</small></td>{''.join(lists)}</tr>")
    heads = f"<th>{html.escape(report.rival)}</th><th>{html.escape(run)}</th>"
    return (
        f"<details><summary>{html.escape(run)}: queries that {what}</summary>"
        f'<div class="scroll"><table><tr><th>query</th>{heads}</tr>{"".join(rows)}</table></div>'
        "</details>"
    )


def colour(low: float, high: float, lower: bool) -> str:
    """`good` or `bad` where an interval lies clear of 0, else nothing."""
    if low <= 0 <= high:
        return ""
    return "good" if (low > 0) != lower else "bad"
