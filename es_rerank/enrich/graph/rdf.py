"""The graph as RDF: Turtle, N-Triples or JSON-LD, in schema.org's terms where they fit.

Written a page of nodes at a time, so that any catalogue fits into memory. Nothing is a blank node:
what has no address of its own gets one from its product, and pages need no joining.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from es_rerank.enrich.graph.edges import (
    ACCESSORY,
    BOUGHT_WITH,
    COMPATIBLE,
    GOES_WITH,
    SIMILAR,
    VARIANT,
)
from es_rerank.errors import ConfigError

if TYPE_CHECKING:
    from rdflib import Graph, URIRef

Format = Literal["turtle", "ntriples", "jsonld"]
SCHEMA = "https://schema.org/"
OWN = "urn:es-rerank:terms:"
PREFIXES = {
    "schema": SCHEMA,
    "er": OWN,
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
TERMS: Mapping[str, str] = {
    SIMILAR: f"{SCHEMA}isSimilarTo",
    ACCESSORY: f"{SCHEMA}isAccessoryOrSparePartFor",
    COMPATIBLE: f"{SCHEMA}isAccessoryOrSparePartFor",
    GOES_WITH: f"{SCHEMA}isRelatedTo",
    BOUGHT_WITH: f"{OWN}boughtWith",
    "brand": f"{SCHEMA}brand",
    "type": f"{SCHEMA}category",
}
"""A variant is told otherwise: it is a variant of its family, a schema:ProductGroup."""


def write_graph(
    nodes: Iterable[Sequence[tuple[str, Mapping[str, Any]]]],
    form: Format,
    base: str,
    *,
    reasons: bool = False,
) -> Iterator[str]:
    """Yield the text of the graph. nodes: ids and nodes as the graph index has them, in pages.

    base: what the addresses of nodes begin with. reasons: also a rdf:Statement for each edge, with
    its confidence and reason. Raises ConfigError without rdflib.
    """
    try:
        import rdflib
    except ImportError:
        raise ConfigError("The export is made by rdflib: pip install 'es-rerank[graph]'") from None
    begun = False
    if form == "turtle":
        yield "".join(f"@prefix {name}: <{iri}> .\n" for name, iri in PREFIXES.items()) + "\n"
    for page in nodes:
        graph = rdflib.Graph(bind_namespaces="none")
        for prefix, address in PREFIXES.items():
            graph.bind(prefix, address)
        for key, node in page:
            add_node(graph, key, node, base, reasons=reasons)
        if form == "jsonld":
            told = json.loads(graph.serialize(format="json-ld", context=PREFIXES, sort_keys=True))
            parts = told.get("@graph", [told] if "@id" in told else [])
            opening = f'{{"@context": {json.dumps(PREFIXES)}, "@graph": [\n'
            for part in parts:
                yield (",\n" if begun else opening) + json.dumps(part, ensure_ascii=False)
                begun = True
        elif form == "ntriples":
            yield "".join(sorted(graph.serialize(format="nt").splitlines(keepends=True)))
        else:
            text = graph.serialize(format="turtle")
            if text.startswith("@prefix"):  # only those that this page needs
                text = text.partition("\n\n")[2]
            yield text
    if form == "jsonld":
        if not begun:
            yield f'{{"@context": {json.dumps(PREFIXES)}, "@graph": ['
        yield "\n]}\n"


def add_node(graph: Graph, key: str, node: Mapping[str, Any], base: str, *, reasons: bool) -> None:
    """Add a node of the graph index, with the triples that leave it."""
    from rdflib import RDF, Literal, URIRef

    def term(name: str) -> URIRef:
        return URIRef(f"{SCHEMA}{name}")

    subject = address(base, key)
    kinds = {"product": "Product", "brand": "Brand", "type": "DefinedTerm"}
    kind = kinds.get(str(node["kind"]), "Property")
    graph.add(
        (subject, RDF.type, URIRef(f"{PREFIXES['rdf']}Property"))
        if kind == "Property"
        else (subject, RDF.type, term(kind))
    )
    if label := node.get("label"):
        graph.add((subject, term("name"), Literal(label)))
    for synonym in node.get("synonyms", ()):
        graph.add((subject, term("alternateName"), Literal(synonym)))
    if kind != "Product":
        return
    graph.add((subject, term("productID"), Literal(node["id"])))
    if family := node.get("family"):
        group = address(base, f"family:{family}")
        graph.add((group, RDF.type, term("ProductGroup")))
        graph.add((group, term("productGroupID"), Literal(family)))
        graph.add((subject, term("isVariantOf"), group))
    for place, attribute in enumerate(node.get("attributes", ())):
        name, _, value = str(attribute).partition(": ")
        own = URIRef(f"{subject}#attribute-{place}")
        graph.add((subject, term("additionalProperty"), own))
        graph.add((own, RDF.type, term("PropertyValue")))
        graph.add((own, term("name"), Literal(name)))
        graph.add((own, term("propertyID"), address(base, f"attribute:{name}")))
        number, unit = read_value(value)
        graph.add((own, term("value"), Literal(value if number is None else number)))
        if unit:
            graph.add((own, term("unitText"), Literal(unit)))
    for place, edge in enumerate(node.get("edges", ())):
        predicate = str(edge["predicate"])
        target = address(base, str(edge["object"]))
        if predicate in TERMS:
            graph.add((subject, URIRef(TERMS[predicate]), target))
        if predicate == COMPATIBLE:
            graph.add((target, RDF.type, term("ProductModel")))
            graph.add((target, term("name"), Literal(str(edge["object"]).partition(":")[2])))
        if reasons and "reason" in edge:
            own = URIRef(f"{subject}#edge-{place}")
            told = f"{SCHEMA}isVariantOf" if predicate == VARIANT else TERMS[predicate]
            graph.add((own, RDF.type, RDF.Statement))
            graph.add((own, RDF.subject, subject))
            graph.add((own, RDF.predicate, URIRef(told)))
            graph.add((own, RDF.object, target))
            graph.add((own, URIRef(f"{OWN}confidence"), Literal(float(edge["confidence"]))))
            graph.add((own, URIRef(f"{OWN}reason"), Literal(edge["reason"])))


def address(base: str, key: str) -> URIRef:
    """A node's address: what stands behind its kind is quoted."""
    from rdflib import URIRef

    kind, _, name = key.partition(":")
    return URIRef(f"{base}{kind}:{quote(name, safe='')}")


def read_value(value: str) -> tuple[float | int | None, str]:
    """A value as a number and its unit; no number where it is a text."""
    number, _, unit = value.partition(" ")
    try:
        found = float(number)
    except ValueError:
        return None, ""
    if " " in unit:
        return None, ""
    return (int(found) if found.is_integer() and abs(found) < 1e15 else found), unit
