"""How well the check of generated texts tells what a product's data say from what they do not.

    python -m benchmarks.quality.texts [--data-dir FOLDER] [--json]

On the sample shop, or on Icecat's products in FOLDER: sentences of a product's own description must
pass, with words of ours before them too; with a number, a name or a claim changed, and of another
product, they must not. Claims are of the rule file, but where it says that no rule knows them.
Nothing is generated, so the changes are all that is wrong with them. No human rating is involved.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.form import Row, compare_row, parser, publish, run, say
from es_rerank.cluster.document import Document
from es_rerank.datasets import icecat
from es_rerank.demo import sample
from es_rerank.enrich.safety.check import check_text
from es_rerank.enrich.safety.rules import shipped_rules
from es_rerank.enrich.text.material import Material, Reading, read_material

PRODUCTS = 2000
NUMBER = re.compile(r"(?<![\w.,])[2-9]\d{0,3}(?![\w.,]*\d)")
NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{3,}(?![\w-])")
CLAIMS = (
    *("waterproof", "certified", "organic", "award-winning", "dishwasher safe", "bpa-free"),
    *("handmade", "recyclable", "with a lifetime warranty", "compatible with all devices"),
)
UNKNOWN_CLAIMS = ("odourless", "self-cleaning", "noiseless", "foldable", "tastier")
OWN_WORDS = ("Enjoy it every day.", "Simply good:", "Made for you.", "Perfect when you need it.")
BRANDS = ("Zephyra", "Quorvex", "Maltherin", "Ostrelle", "Vandrik")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser(__doc__ or "")
    options.add_argument("--data-dir", type=Path, metavar="FOLDER", help="where Icecat's data are")
    chosen = options.parse_args(arguments)
    if chosen.data_dir is None:
        products = [row for row in sample.load_products() if row["language"] == "en"]
    else:
        products = list(icecat.load_products(chosen.data_dir))
    lot = random.Random(0)
    lot.shuffle(products)
    reading = Reading(("title", "description"), ("brand",))
    materials = [
        material
        for number, row in enumerate(products[:PRODUCTS])
        if (material := read_material(Document(str(number), None, b"", row), reading)).sentences
    ]
    say(f"{len(materials):,} products ...")
    catalogue = "the sample shop" if chosen.data_dir is None else "Icecat"
    publish(measure(materials, lot), chosen, f"Texts that are held back, {catalogue}")


def measure(materials: Sequence[Material], lot: random.Random) -> list[Row]:
    """The share of each kind of text that is held back, beside a check of words alone."""
    rules = shipped_rules()
    texts: dict[str, list[tuple[str, str]]] = {}
    for place, material in enumerate(materials):
        sentence, facts = lot.choice(material.sentences), material.facts
        other = materials[(place + 1) % len(materials)].facts
        texts.setdefault("its own sentence", []).append((sentence, facts))
        around = f"{lot.choice(OWN_WORDS)} {sentence}"
        texts.setdefault("its own sentence, other words before it", []).append((around, facts))
        texts.setdefault("a sentence of another product", []).append((sentence, other))
        if found := NUMBER.search(sentence):
            wrong = str(int(found[0]) + lot.randint(1, 9))
            changed = sentence[: found.start()] + wrong + sentence[found.end() :]
            if wrong not in facts:
                texts.setdefault("a number changed", []).append((changed, facts))
        if found := NAME.search(sentence):
            changed = sentence[: found.start()] + lot.choice(BRANDS) + sentence[found.end() :]
            texts.setdefault("a name changed", []).append((changed, facts))
        claim = lot.choice(CLAIMS)
        unknown = lot.choice(UNKNOWN_CLAIMS)
        if unknown not in facts.lower():
            changed = f"{sentence.rstrip('.')}. It is {unknown}."
            texts.setdefault("a claim added that no rule knows", []).append((changed, facts))
        if claim.partition(" ")[0] not in facts.lower():
            texts.setdefault("a claim added", []).append(
                (f"{sentence.rstrip('.')}. It is {claim}.", facts)
            )
    rows = []
    for what, pairs in texts.items():
        began = time.perf_counter()
        ours = sum(check_text(text, facts, rules).outcome != "passed" for text, facts in pairs)
        took = 1000 * (time.perf_counter() - began) / len(pairs)
        say(f"{what}: {took:.2f} ms a text")
        theirs = sum(lacks_word(text, facts) for text, facts in pairs)
        rows.append(
            compare_row(
                f"held back: {what}",
                ours=100 * ours / len(pairs),
                rival="every word in the source",
                theirs=100 * theirs / len(pairs),
                unit="%",
                better="lower" if what.startswith("its own") else "higher",
                n=len(pairs),
            )
        )
    return rows


def lacks_word(text: str, source: str) -> bool:
    """Whether a text has a word that its source has not: the plainest check there is."""
    known = set(re.findall(r"\w+", source.lower()))
    return not known.issuperset(re.findall(r"\w+", text.lower()))


if __name__ == "__main__":
    run(main)
