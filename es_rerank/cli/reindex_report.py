"""What `es-rerank reindex` says: the plan before, the outcome after, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import orjson

from es_rerank.cli.dead_letter import FailureLog
from es_rerank.cli.progress import format_duration
from es_rerank.cluster.client import SearchClient
from es_rerank.enrich.run.plan import Plan
from es_rerank.enrich.run.reindex import Result


def plan_keys(plan: Plan, client: SearchClient, *, dry_run: bool) -> dict[str, Any]:
    """The keys of --json that say what was to be done."""
    return {
        "engine": client.kind,
        "engine_version": ".".join(map(str, client.version)),
        "source": plan.source.described.index,
        "alias": plan.alias,
        "alias_before": list(plan.before),
        "index": plan.index,
        "resumed": plan.resumed is not None,
        "documents": plan.expected,
        "steps": plan.recipe,
        "text_fields": list(plan.fields.text),
        "attribute_fields": list(plan.fields.attributes),
        "price_field": plan.fields.price,
        "model": plan.model,
        "dry_run": dry_run,
    }


def result_keys(result: Result, log: FailureLog) -> dict[str, Any]:
    """The keys of --json that say what was done."""
    return {
        "index": result.index,
        "read": result.read,
        "written": result.written,
        "failed": result.failed,
        "enriched": result.enriched,
        "reused": result.reused,
        "removed": result.removed,
        "held": result.held,
        "failures": [orjson.Fragment(orjson.dumps(failure)) for failure in log.first],
        "failures_file": str(log.path) if log.count else None,
        "alias_moved": result.alias_moved,
        "alias_kept_because": result.why_not,
        "duration_s": round(result.duration_s, 3),
        "documents_per_s": round(result.read / max(result.duration_s, 1e-9), 1),
    }


def sample_keys(plan: Plan, count: int, seconds: float) -> dict[str, Any]:
    """The keys of --json that say what the run would take, from enriching `count` documents."""
    each = seconds / max(count, 1)
    tokens, money = estimate_cost(plan, count)
    return {
        "estimated_s": round(each * plan.expected, 1),
        "estimated_cost": round(money, 4),
        "estimated_tokens": tokens,
        "documents_per_s": round(1 / each, 1) if each else None,
    }


def estimate_cost(plan: Plan, count: int) -> tuple[int, float]:
    """Tokens and money that all documents would use, from those of the samples."""
    tokens, money = plan.cost
    share = plan.expected / (count + 1)  # one was enriched twice
    return round(tokens * share), money * share


def shown_document(key: str, body: bytes) -> dict[str, Any]:
    """A sample for people: its vector cut short."""
    source = json.loads(body)
    own = source.get("es_rerank", {})
    if isinstance(own, dict) and "vector" in own:
        own["vector"] = [*own["vector"][:3], f"... {len(own['vector'])} numbers"]
        own["code"] = f"{own['code'][:24]}..."
    return {"_id": key, "_source": source}


def describe_plan(plan: Plan, client: SearchClient) -> str:
    """Say what will be done."""
    now = f"{', '.join(plan.before)} now" if plan.before else "new"
    fields = plan.fields
    then = f"then move the alias {plan.alias} there ({now})"
    if plan.is_cut:
        then = f"and leave the alias {plan.alias} alone ({now}), since --limit cuts the source off"
    source = plan.source.described.index
    lines = [
        client.where,
        f"  read    {source} ({plan.expected:,} of {plan.total:,} documents)",
        f"  write   {plan.index}, {then}",
    ]
    if plan.resumed is not None:
        lines.append(
            f"  go on   with what was begun on {plan.resumed.started} "
            f"({plan.resumed.documents:,} documents are written)"
        )
    if not plan.steps:
        return "\n".join([*lines, "  as is   nothing is added"])
    made = f", embedded by {plan.model}" if plan.model else ""
    lines += [
        f"  steps   {', '.join(step.name for step in plan.steps)}",
        f"  text    {', '.join(fields.text)}{made}",
        f"  alike   {', '.join(fields.attributes) or 'no attribute field found'}"
        f"{f'; price {fields.price}' if fields.price else ''}",
    ]
    if plan.base is not None:
        lines.append(f"  reuse   {plan.previous}, but for what has changed since")
    elif plan.previous:
        lines.append(f"  reuse   what {plan.previous} has and is still good")
    return "\n".join(lines)


def describe_estimate(plan: Plan, count: int, seconds: float) -> str:
    """Say what the run would take."""
    if not plan.steps or not count:
        return "Nothing is computed; the engine's own speed counts."
    took = format_duration(seconds / count * plan.expected)
    cost = "No step costs money: all run here."
    if plan.is_paid:
        tokens, money = estimate_cost(plan, count)
        priced = f"cost {money:,.2f} by the recipe's prices" if money else "have no price set"
        cost = f"Some {tokens:,} tokens are used, which {priced}."
    return (
        f"At the speed of these {count} documents the steps take {took} for all "
        f"{plan.expected:,}, less what can be taken over. {cost}"
    )


def describe_result(result: Result, plan: Plan, client: SearchClient) -> str:
    """Say what was done, and what to do next."""
    rate = result.read / max(result.duration_s, 1e-9)
    lines = [
        f"{result.written:,} documents written to {result.index} in "
        f"{format_duration(result.duration_s)} ({rate:,.0f} docs/s), {result.failed:,} failed."
    ]
    if result.reused:
        lines.append(f"{result.enriched:,} were enriched, {result.reused:,} were so already.")
    if result.removed:
        lines.append(f"{result.removed:,} were taken out that the source has no more.")
    if result.alias_moved:
        lines.append(f"The alias {plan.alias} stands for {result.index} now.")
        own = (plan.source.described.index, result.index)
        kept = [name for name in plan.before if name not in own]
        if kept:
            lines.append(
                f"Still there: {', '.join(kept)}. Back to it: es-rerank index rollback "
                f"{plan.alias}. Once you need it no more: es-rerank index prune {plan.alias}, or "
                f"curl -X DELETE '{client.url}/{kept[0]}'"
            )
    else:
        lines.append(f"The alias {plan.alias} was left as it was: {result.why_not}.")
    return "\n".join(lines)


def describe_leftover(index: str, plan: Plan, client: SearchClient) -> str:
    """Say what a run that ended early has left behind."""
    return (
        f"{index} is incomplete; the alias {plan.alias} was not touched. The same command goes on "
        f"from there. To remove what was written instead: curl -X DELETE '{client.url}/{index}'"
    )


def describe_failures(result: Result, log: FailureLog) -> str:
    """Name the first failed documents, where the rest stand, and what can be done."""
    lines = [f"{result.failed:,} documents failed:"]
    lines += [f"  {failure.described}" for failure in log.first]
    if log.count:
        lines.append(f"All of them: {log.path}")
    if not result.alias_moved:
        lines.append(
            "Mend them in the source and run the same command again, which reads what has changed; "
            f"or let it read them again: --retry-failed {log.path}; or move the alias as it is: "
            "--accept-failures."
        )
    return "\n".join(lines)


def shown_samples(keys: Sequence[str], bodies: Sequence[bytes]) -> list[dict[str, Any]]:
    """The samples for people."""
    return [shown_document(key, body) for key, body in zip(keys, bodies, strict=True)]
