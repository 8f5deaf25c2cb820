"""Quality of the product graph.

On the sample shop the truth is known: who made which listing of which family, which models an
accessory fits, what shoppers' queries take as good as another. The shop's own `family` field is
hidden from the graph. On Icecat (`--data-dir`) nothing is known: edges are counted, and `--show N`
prints as many of each kind, drawn by lot from a fixed seed, to be judged by eye.

    python -m benchmarks.quality.graph [--data-dir FOLDER [--show 30]]
"""

from __future__ import annotations

import random
import resource
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.form import Row, compare_row, parser, publish, run, say
from es_rerank.cluster.fields import find_fields
from es_rerank.datasets import icecat
from es_rerank.demo import sample
from es_rerank.demo.catalogue.files import SEED
from es_rerank.demo.catalogue.products import Product, make_products
from es_rerank.demo.catalogue.vocabulary import read_vocabulary
from es_rerank.enrich.graph.edges import ACCESSORY, PREDICATES, SIMILAR
from es_rerank.enrich.graph.facts import FactFields, Facts, choose_fields, read_facts
from es_rerank.enrich.graph.graph import Graph, settle
from es_rerank.enrich.graph.survey import Survey
from es_rerank.enrich.graph.words import fold, respell, tokenise
from es_rerank.enrich.sources.rows import infer_properties

Pair = tuple[str, str]
GOOD = 2  # grade from which a product meets a query's need
SHOWN_SEED = 7


@dataclass(frozen=True)
class Built:
    """A catalogue's graph, and each product's patch."""

    graph: Graph
    facts: Mapping[str, Facts]
    patches: Mapping[str, Mapping[str, Any]]
    surveyed_s: float
    linked_s: float

    def edges(self, predicate: str) -> dict[str, list[str]]:
        """By product, where its edges of a kind lead."""
        return {key: list(patch.get(predicate, ())) for key, patch in self.patches.items()}


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--data-dir", type=Path, help="folder of icecat_products.jsonl(.gz)")
    options.add_argument("--show", type=int, default=0, help="print so many edges of each kind")
    chosen = options.parse_args()
    if chosen.data_dir is None:
        rows = measure_sample()
    else:
        rows = count_icecat(chosen.data_dir, chosen.show)
    publish(rows, chosen, "The product graph")


def build(rows: Iterable[Mapping[str, Any]], fields: FactFields) -> Built:
    """Survey all rows, then link each."""
    started = time.process_time()
    survey = Survey()
    facts = {}
    for row in rows:
        facts[str(row["id"])] = read_facts(str(row["id"]), row, fields)
        survey.add(facts[str(row["id"])])
    graph = settle(survey)
    surveyed = time.process_time()
    patches = {key: graph.patch(each) for key, each in facts.items()}
    return Built(graph, facts, patches, surveyed - started, time.process_time() - surveyed)


def measure_sample() -> list[Row]:
    """All measures on the sample shop."""
    made = {product.id: product for product in make_products(read_vocabulary(), SEED)}
    fields = choose_fields(find_fields(sample.MAPPING))
    shop = [
        {name: value for name, value in row.items() if name not in ("family", "image")}
        for row in sample.load_products(with_reviews=False)
    ]
    say("building the graph of the sample shop")
    built = build(shop, fields)
    spoken = build([_speak(row) for row in shop], fields)
    return [
        *variant_rows(built, made),
        *accessory_rows(built, made, "named by a field"),
        *accessory_rows(spoken, made, "named in the title"),
        *substitute_rows(built, made),
        *synonym_rows(built, made),
    ]


def variant_rows(built: Built, made: Mapping[str, Product]) -> list[Row]:
    """Pairs of listings of one item under one brand, against all of a brand and type."""
    truth = _pairs({key: (p.family.id, p.family.brand.name) for key, p in made.items()})
    labels = built.graph.families.labels.tolist()
    ours = _pairs(dict(zip(built.graph.columns.ids, labels, strict=True)))
    naive = _pairs({key: (p.family.brand.name, p.family.kind.key) for key, p in made.items()})
    return _precision_recall("variants", ours, naive, "the same brand and type", truth)


def accessory_rows(built: Built, made: Mapping[str, Product], how: str) -> list[Row]:
    """Models that an accessory names, against any title that has the name somewhere."""
    shop = sample.load_products(with_reviews=False)
    models: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for product in made.values():
        family = product.family
        gap = "" if family.language == "zh" else " "
        models[f"{family.brand.name}{gap}{family.model}"].add((family.id, family.brand.name))
    truth, naive = set(), set()
    for row in shop:
        host = made[row["id"]].family.kind.fits
        for name in row["compatibility"]:
            for key, brand in models[name]:
                kinds = {p.family.kind.key for p in made.values() if p.family.id == key}
                if host in kinds:
                    truth.add((row["id"], key, brand))
            words = fold(name)
            for key, other in made.items():
                if words in fold(str(built.facts[key].title)) and key != row["id"]:
                    naive.add((row["id"], other.family.id, other.family.brand.name))
    ours = {
        (key, made[target].family.id, made[target].family.brand.name)
        for key, targets in built.edges(ACCESSORY).items()
        for target in targets
    }
    rival = "any title with the model's name"
    written = {
        (product.family.id, product.family.brand.name)
        for product in made.values()
        if fold(product.family.model) in fold(str(product.document["title"]))
    }
    there = {each for each in truth if each[1:] in written}
    recall = [len(found & there) / len(there) for found in (ours, naive)]
    return [
        *_precision_recall(f"compatibility, {how}", ours, naive, rival, truth),
        _row(
            f"compatibility, {how}, of models that a title says | recall",
            recall[0],
            rival,
            recall[1],
            len(there),
        ),
    ]


def substitute_rows(built: Built, made: Mapping[str, Product]) -> list[Row]:
    """What meets the need of a query as well: substitutes of a product that is right for it."""
    qrels = sample.load_qrels()
    kinds: dict[str, list[str]] = defaultdict(list)
    for key, product in made.items():
        kinds[product.family.kind.key].append(key)
    found = built.edges(SIMILAR)
    chance = random.Random(SHOWN_SEED)
    values: dict[str, list[tuple[float, ...]]] = {"all": [], "more than a type": []}
    for grades in qrels.values():
        own: list[tuple[float, ...]] = []
        narrow = False
        for key, grade in grades.items():
            if grade < 3 or not found.get(key):
                continue
            product = made[key]
            others = [
                other
                for other in kinds[product.family.kind.key]
                if made[other].family.id != product.family.id
            ]
            if not others:
                continue
            good = {other for other in others if grades.get(other, 0) >= GOOD}
            narrow |= len(good) < 0.9 * len(others)
            price = product.document["price"]
            near = sorted(others, key=lambda o: abs(made[o].document["price"] - price))
            taken = found[key]
            drawn = chance.sample(others, min(len(taken), len(others)))
            own.append((_share(taken, good), _share(drawn, good), _share(near[: len(taken)], good)))
        if own:
            columns = list(zip(*own, strict=True))
            mean = tuple(sum(column) / len(own) for column in columns)
            values["all"].append(mean)
            if narrow:
                values["more than a type"].append(mean)
    rows = []
    for which, means in values.items():
        ours, drawn, near = (sum(column) / len(means) for column in zip(*means, strict=True))
        for name, theirs in (("others of the type by lot", drawn), ("nearest in price", near)):
            what = f"substitutes that meet the query, queries: {which} | precision"
            rows.append(_row(what, ours, name, theirs, len(means)))
    return rows


def synonym_rows(built: Built, made: Mapping[str, Product]) -> list[Row]:
    """Learnt names of types that are among the names the shop was written with."""
    nouns: dict[str, set[str]] = defaultdict(set)
    for product in made.values():
        for noun in product.family.kind.en.nouns:
            nouns[product.family.kind.en.label].add(respell(noun.rpartition("|")[2].strip()))
    graph = built.graph
    learnt = {
        graph.survey.types.names[kind]: [respell(word) for word in words]
        for kind, words in graph.kinds.items()
    }
    commonest = {}
    for kind, held in graph.survey.samples.items():
        counts = Counter(
            " ".join(run)
            for _, title, _ in held
            for run in zip(tokenise(title), tokenise(title)[1:], strict=False)
        )
        name = graph.survey.types.names[kind]
        size = len(learnt.get(name, ()))
        commonest[name] = [respell(phrase) for phrase, _ in counts.most_common(size)]
    right = _named(learnt, nouns)
    theirs = _named(commonest, nouns)
    total = sum(map(len, learnt.values()))
    return [
        _row(
            "names of types | precision",
            right / total,
            "the commonest pairs of words",
            theirs / total,
            total,
        )
    ]


def count_icecat(folder: Path, shown: int) -> list[Row]:
    """How many edges of each kind, and what it costs."""
    products = list(icecat.load_products(folder))
    fields = choose_fields(find_fields({"properties": infer_properties(products[:1000])}))
    say(f"building the graph of {len(products):,} products")
    built = build(products, fields)
    rows = []
    for predicate in PREDICATES:
        edges = built.edges(predicate)
        some = sum(1 for targets in edges.values() if targets)
        total = sum(map(len, edges.values()))
        what = f"Icecat | products with {predicate}"
        rows.append(_row(what, some, "its edges in all", total, len(products), "count"))
        if shown:
            show_edges(built, predicate, shown)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows.append(_row("Icecat | peak memory", peak, "nothing", 0.0, 1, "MB", "lower"))
    for what, seconds in (("survey", built.surveyed_s), ("links", built.linked_s)):
        rate = len(products) / max(seconds, 1e-9)
        rows.append(_row(f"Icecat | {what}", rate, "nothing", 0.0, 1, "products/s of processor"))
    return rows


def show_edges(built: Built, predicate: str, count: int) -> None:
    """Print edges drawn by lot."""
    every = [
        (key, edge)
        for key, patch in built.patches.items()
        for edge in patch.get("edges", ())
        if edge["predicate"] == predicate
    ]
    for key, edge in random.Random(SHOWN_SEED).sample(every, min(count, len(every))):
        target = built.facts.get(edge["object"])
        label = target.title if target else edge["object"]
        say(f"{predicate}\t{built.facts[key].title}\t{label}\t{edge['reason']}")


def _speak(row: Mapping[str, Any]) -> dict[str, Any]:
    """The product with what it fits said in its title, and no field for it."""
    told = dict(row)
    names = told.pop("compatibility")
    if names:
        said = (
            f" 适用于{'、'.join(names)}" if row["language"] == "zh" else f" for {', '.join(names)}"
        )
        told["title"] = f"{row['title']}{said}"
    return told


def _pairs(groups: Mapping[str, Any]) -> set[Pair]:
    held: dict[Any, list[str]] = defaultdict(list)
    for key, group in sorted(groups.items()):
        held[group].append(key)
    return {
        (one, other)
        for keys in held.values()
        for place, one in enumerate(keys)
        for other in keys[place + 1 :]
    }


def _named(found: Mapping[str, Sequence[str]], nouns: Mapping[str, set[str]]) -> int:
    return sum(word in nouns[kind] for kind, words in found.items() for word in words)


def _share(keys: Sequence[str], good: set[str]) -> float:
    return sum(key in good for key in keys) / len(keys)


def _precision_recall(
    what: str, ours: set[Any], naive: set[Any], rival: str, truth: set[Any]
) -> list[Row]:
    rows = []
    for name, whole in (("precision", None), ("recall", truth)):
        values = [
            len(found & truth) / max(len(found if whole is None else whole), 1)
            for found in (ours, naive)
        ]
        rows.append(_row(f"{what} | {name}", values[0], rival, values[1], len(truth)))
    return rows


def _row(
    what: str,
    ours: float,
    rival: str,
    theirs: float,
    n: int,
    unit: str = "share",
    better: Any = "higher",
) -> Row:
    return compare_row(
        what, ours=float(ours), rival=rival, theirs=float(theirs), unit=unit, better=better, n=n
    )


if __name__ == "__main__":
    run(main)
