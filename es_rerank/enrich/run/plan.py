"""What a run will do: look at both sides, find the fields, find what an earlier run has begun."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from es_rerank import __version__
from es_rerank.cluster.client import SearchClient
from es_rerank.cluster.document import text_template
from es_rerank.cluster.fields import NAMESPACE, IndexFields, find_fields, has_field
from es_rerank.cluster.templates import check_alias, next_version
from es_rerank.cluster.versions import list_versions
from es_rerank.enrich.run.record import COMPLETE, RunRecord, read_record
from es_rerank.enrich.sources.source import Source
from es_rerank.enrich.steps.recipe import Recipe
from es_rerank.enrich.steps.step import Step
from es_rerank.errors import ConfigError

BuildSteps = Callable[[Recipe, IndexFields], list[Step]]


@dataclass(frozen=True)
class Plan:
    """What a run will do. resumed: how far an earlier run has filled `index`, None for a new one.

    previous: the version that is searched, whose work is taken over where it is still good. base:
    its record, where the new version can begin as its clone: the same source, taken the same way.
    """

    source: Source
    alias: str
    before: tuple[str, ...]  # the indices that the alias stands for now
    index: str
    resumed: RunRecord | None
    base: RunRecord | None
    previous: str | None
    known_dimensions: Mapping[str, int]  # by model, of the previous version
    fields: IndexFields
    steps: tuple[Step, ...]
    total: int  # documents in the source now
    limit: int | None

    @property
    def expected(self) -> int:
        """How many documents will be read, those of an earlier run with them."""
        return self.total if self.limit is None else min(self.total, self.limit)

    @property
    def is_cut(self) -> bool:
        """Whether `limit` leaves documents out."""
        return self.expected < self.total

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to be continued."""
        return {**self.source.identity, "limit": self.limit if self.is_cut else None}

    @property
    def recipe(self) -> dict[str, str]:
        """Each step's hash."""
        return {step.name: step.recipe for step in self.steps}

    @property
    def cost(self) -> tuple[int, float]:
        """Tokens and money that paid models have used until now."""
        costs = [cost for step in self.steps if (cost := getattr(step.enricher, "cost", None))]
        return sum(cost.tokens for cost in costs), sum(cost.money for cost in costs)

    @property
    def is_paid(self) -> bool:
        """Whether enriching a document may cost money."""
        return any(getattr(step.enricher, "is_paid", False) for step in self.steps)

    @property
    def wide(self) -> tuple[Step, ...]:
        """The steps that go by more than the document."""
        return tuple(step for step in self.steps if step.survey is not None)

    @property
    def model(self) -> str | None:
        """What makes the vectors."""
        return next((step.model for step in self.steps if step.name == "vector"), None)


def make_plan(
    client: SearchClient,
    source: Source,
    alias: str,
    recipe: Recipe,
    build: BuildSteps,
    *,
    limit: int | None = None,
    restart: bool = False,
    follow: bool = False,
) -> Plan:
    """Look at both sides and find the fields; nothing is written.

    restart: leave alone what earlier runs have begun. follow: go on with the version that is
    searched, where this recipe made it of this source. Raises ConfigError when the source or the
    alias will not do, when a field that was named is not in the mapping, or when a step needs text
    and no text field is found.
    """
    before = tuple(check_alias(client, alias))
    fields = _choose_fields(source, recipe)
    plan = Plan(
        source,
        alias,
        before,
        next_version(client, alias),
        None,
        None,
        None,
        {},
        fields,
        tuple(build(recipe, fields)),
        source.count(),
        limit,
    )
    if plan.wide:
        check_alias(client, f"{alias}-graph")
    previous = None
    for version in reversed(list_versions(client, alias)):
        record = read_record(version.mappings)
        if version.is_live:
            previous = version
        if record is None or restart or plan.resumed is not None:
            continue
        same = (record.identity, record.recipe) == (plan.identity, plan.recipe)
        if not same or plan.is_cut:
            continue
        if record.state != COMPLETE or (follow and version.is_live):
            plan = dataclasses.replace(plan, index=version.index, resumed=record)
        elif version.is_live and source.is_live and not record.failed:
            plan = dataclasses.replace(plan, base=record)
    if previous is not None and previous.index != plan.index:
        meta = (previous.mappings.get("_meta") or {}).get(NAMESPACE) or {}
        known = {meta["model"]: meta["dimensions"]} if meta.get("dimensions") else {}
        # A source that is searched itself brings its own work along.
        name = None if previous.index == source.described.index else previous.index
        base = plan.base if meta.get("version") == __version__ and name is not None else None
        plan = dataclasses.replace(plan, previous=name, base=base, known_dimensions=known)
    return plan


def build_meta(plan: Plan, dimensions: int) -> dict[str, Any]:
    """Write down in the mapping what the proxy has to know about the index."""
    own: dict[str, Any] = {
        "source": plan.source.described.index,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
    }
    if not plan.steps:
        earlier = (plan.source.described.mappings.get("_meta") or {}).get(NAMESPACE)
        return {**(earlier if isinstance(earlier, Mapping) else {}), **own}
    fields = plan.fields
    own |= {
        "text_fields": list(fields.text),
        "attribute_fields": list(fields.attributes),
        "price_field": fields.price,
        "template": text_template(fields.text),
    }
    return {**own, "model": plan.model, "dimensions": dimensions} if plan.model else own


def _choose_fields(source: Source, recipe: Recipe) -> IndexFields:
    described = source.described
    found = find_fields(described.mappings)
    price = [recipe.price_field] if recipe.price_field else []
    for path in (*recipe.text_fields, *recipe.attribute_fields, *price):
        if not has_field(described.mappings, path):
            known = ", ".join((*found.text, *found.attributes)) or "none that we know"
            raise ConfigError(
                f"{described.index} has no field {path!r} in its mapping. Found by name: {known}."
            )
    fields = dataclasses.replace(
        found,
        text=recipe.text_fields or found.text,
        attributes=recipe.attribute_fields or found.attributes,
        price=recipe.price_field or found.price,
    )
    if not fields.text and not recipe.is_copy:
        raise ConfigError(
            f"No text field was found in the mapping of {described.index}. Name one or more, the "
            "title first: --text-field title --text-field description"
        )
    return fields
