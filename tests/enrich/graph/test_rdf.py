"""What is exported is read back by rdflib, the same in each form."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from rdflib import RDF, Graph, Literal, URIRef
from rdflib.compare import to_isomorphic

from es_rerank.enrich.graph.rdf import SCHEMA, Format, address, read_value, write_graph
from es_rerank.enrich.graph.store import product_node, shared_node
from es_rerank.enrich.graph.vocabulary import Vocabulary
from tests.enrich.graph.catalogue import PHONES, patches

# rdflib 7.6 reads JSON-LD by a class of its own that it warns of.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
BASE = "https://shop.example/"
PARSED = {"turtle": "turtle", "ntriples": "nt", "jsonld": "json-ld"}


def all_nodes() -> list[tuple[str, dict[str, Any]]]:
    made = [
        product_node(key, {**patch, "label": PHONES[key]["title"]})
        for key, patch in patches(PHONES).items()
    ]
    odd = {"brand": 'A&B "x" <y>', "label": 'Über "quoted" \\ 中文\n'}
    made.append(product_node("odd id/1#2 ü", odd))
    made.append(shared_node("type", "phone", 4, Vocabulary({"phone": ("mobile", "cell phone")})))
    made.append(shared_node("attribute", "colour", 6, Vocabulary()))
    return [(key, json.loads(body)) for key, body in made]


def parse(form: Format, size: int, *, reasons: bool = False) -> Graph:
    nodes = all_nodes()
    pages = [nodes[start : start + size] for start in range(0, len(nodes), size)]
    text = "".join(write_graph(pages, form, BASE, reasons=reasons))
    return Graph().parse(data=text, format=PARSED[form])


@pytest.mark.parametrize("size", [1, 4, 100])
@pytest.mark.parametrize("form", get_args(Format))
def test_every_form_says_the_same(form: Format, size: int) -> None:
    found, whole = parse(form, size), parse("ntriples", 100)
    assert to_isomorphic(found) == to_isomorphic(whole)


def test_the_edges_come_back() -> None:
    found = parse("turtle", 3)
    terms = {
        "similar_to": "isSimilarTo",
        "accessory_of": "isAccessoryOrSparePartFor",
        "goes_with": "isRelatedTo",
    }
    products = {
        str(key): subject for subject, key in found.subject_objects(URIRef(f"{SCHEMA}productID"))
    }
    assert set(products) == {*PHONES, "odd id/1#2 ü"}
    ids = {subject: key for key, subject in products.items()}
    for key, patch in patches(PHONES).items():
        for predicate, term in terms.items():
            told = found.objects(products[key], URIRef(f"{SCHEMA}{term}"))
            assert {ids[each] for each in told if each in ids} == set(patch.get(predicate, ()))
        group = found.value(products[key], URIRef(f"{SCHEMA}isVariantOf"))
        members = {ids[s] for s in found.subjects(URIRef(f"{SCHEMA}isVariantOf"), group)}
        assert (members - {key} if group else set()) == set(patch.get("variant_of", ()))


def test_attributes_names_and_reasons() -> None:
    found = parse("jsonld", 5, reasons=True)
    phone = address(BASE, "product:a1")
    values = {
        str(found.value(each, URIRef(f"{SCHEMA}name"))): (
            found.value(each, URIRef(f"{SCHEMA}value")),
            found.value(each, URIRef(f"{SCHEMA}unitText")),
        )
        for each in found.objects(phone, URIRef(f"{SCHEMA}additionalProperty"))
    }
    assert values == {
        "colour": (Literal("black"), None),
        "size": (Literal(64), Literal("GB")),
    }
    odd = address(BASE, "product:odd id/1#2 ü")
    assert found.value(odd, URIRef(f"{SCHEMA}name")) == Literal('Über "quoted" \\ 中文\n')
    reasons = list(found.objects(None, URIRef("urn:es-rerank:terms:reason")))
    assert Literal("it is made for Acme Nova 5") in reasons
    assert len(list(found.subjects(RDF.type, RDF.Statement))) == len(reasons)


def test_an_empty_graph() -> None:
    for form in get_args(Format):
        text = "".join(write_graph([], form, BASE))
        assert len(Graph().parse(data=text, format=PARSED[form])) == 0


def test_values_with_units() -> None:
    assert read_value("64 GB") == (64, "GB")
    assert read_value("1.5 ml") == (1.5, "ml")
    assert read_value("sky blue") == (None, "")
    assert read_value("2 x usb") == (None, "")
