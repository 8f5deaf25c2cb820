"""A game against the ranking: what a seller gains who stuffs keywords, copies titles or floods.

    python -m benchmarks.quality.adversary [--model FOLDER ...] [--queries N] [--json]

For each English query of the sample shop a seller who is new there offers a few products that the
generator's ground truth calls wrong for it, first honestly, then by each attack:

    stuffs     the query, three times over, before title and text
    copies     the title of the product that BM25 ranks first, above its own text
    floods     ten of the stuffed product, with small differences

Rivals are ranked from one window, the catalogue's BM25 order with the seller's products let in. It
is told how far down the best of the seller's products is, honest and attacking, how much of the
first ten the seller has, and nDCG@10, in which its products count nothing. `--model` adds rerankers
of one's own, such as one trained with [labels] stuffed = 0, to see what hardening does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.form import Row, Spread, compare_row, parser, publish, run, say
from benchmarks.quality.judging import DIFFERENCE, Embed, embed
from es_rerank.config import RerankSettings
from es_rerank.demo import sample
from es_rerank.evaluation.compare import bootstrap_interval
from es_rerank.evaluation.measures import ndcg
from es_rerank.models.manifest import DEFAULT
from es_rerank.models.reranker import load_reranker
from es_rerank.ranking.blend import Weights, blend, mix, scale
from es_rerank.ranking.diversity.dpp import greedy_map
from es_rerank.ranking.diversity.kernel import KernelWeights, build_kernel
from es_rerank.ranking.score import PairModel
from es_rerank.training.catalogue import Product, load_catalogue
from es_rerank.training.negatives import WordIndex

K = 10
WINDOW = 50
OFFERED = 3
FLOOD = 10
STUFFED = 3
SELLER = "the seller under test"
HONEST = "is honest"
ATTACKS = ("stuffs", "copies", "floods")
DIVERSITY = (0.05, 0.2)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Offer:
    """The seller's products for one query, by one way of offering them: titles and texts."""

    titles: Sequence[str]
    texts: Sequence[str]


@dataclass(frozen=True)
class Game:
    """One query by one way of the seller: the window, in BM25's order.

    ids: (n,) products; ours: (n,) bool, whose. first_stage, cosines: (n,). vectors: (n, d).
    """

    query: str
    ids: Sequence[str]
    ours: NDArray[np.bool_]
    texts: Sequence[str]
    brands: Sequence[str]
    first_stage: Array
    cosines: Array
    vectors: NDArray[np.float32]
    grades: Mapping[str, int]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser(__doc__ or "")
    options.add_argument("--model", type=Path, action="append", default=[], help="another reranker")
    options.add_argument("--queries", type=int, default=40, help="at most (%(default)s)")
    chosen = options.parse_args(arguments)
    products = load_catalogue(None)
    queries = [query for query in sample.load_queries() if query.language == "en"]
    step = max(len(queries) // chosen.queries, 1)
    some = queries[::step][: chosen.queries]
    games = make_games(products, some, sample.load_qrels(), embed)
    models: dict[str, PairModel] = {"default reranker": load_reranker(DEFAULT)}
    models |= {f"reranker {path.name}": load_reranker(path) for path in chosen.model}
    say(f"Playing {len(some)} queries in {1 + len(ATTACKS)} ways ...")
    rows = [
        row for name, orders in rank_all(games, models).items() for row in tell(name, games, orders)
    ]
    publish(rows, chosen, f"A seller who attacks, sample shop, {len(some)} queries")


def make_games(
    products: Sequence[Product],
    queries: Sequence[sample.Query],
    qrels: Mapping[str, Mapping[str, int]],
    embed: Embed,
) -> dict[str, list[Game]]:
    """Way of the seller -> a game for each query.

    All the seller's products of all games are in one index, so that words weigh the same in each;
    a game sees its own alone.
    """
    index = WordIndex(products)
    offers: list[dict[str, Offer]] = []
    for query in queries:
        order = index.search(query.text, WINDOW).tolist()
        bad = [row for row in order if not qrels[query.id].get(products[row].id, 0)]
        bad += [row for row in range(len(products)) if not qrels[query.id].get(products[row].id, 0)]
        own = [products[row] for row in dict.fromkeys(bad[::-1])][:OFFERED]
        offers.append(make_offers(query.text, own, products[order[0]].title if order else ""))
    added = [
        Product(f"{SELLER} {q} {way} {i}", title, text, SELLER, None, False, {})
        for q, ways in enumerate(offers)
        for way, offer in ways.items()
        for i, (title, text) in enumerate(zip(offer.titles, offer.texts, strict=True))
    ]
    everything = [*products, *added]
    index = WordIndex(everything)
    games: dict[str, list[Game]] = {way: [] for way in (HONEST, *ATTACKS)}
    asked = embed([query.text for query in queries])
    known: dict[str, NDArray[np.float32]] = {}
    for q, query in enumerate(queries):
        scores = index.score(query.text).astype(np.float64)
        best = np.argsort(-scores[: len(products)], kind="stable")[:WINDOW].tolist()
        for way, played in games.items():
            prefix = f"{SELLER} {q} {way} "
            own = [
                i
                for i in range(len(products), len(everything))
                if everything[i].id.startswith(prefix)
            ]
            rows = sorted([*best, *own], key=lambda row: -scores[row])
            shown = [everything[row] for row in rows]
            new = [each.text for each in shown if each.text not in known]
            known |= dict(zip(new, embed(new), strict=True)) if new else {}
            vectors = np.stack([known[each.text] for each in shown])
            played.append(
                Game(
                    query.text, [each.id for each in shown],
                    np.array([each.brand == SELLER for each in shown]),
                    [each.text for each in shown], [each.brand or "" for each in shown],
                    scores[rows], (vectors @ asked[q]).astype(np.float64), vectors,
                    qrels[query.id],
                )
            )  # fmt: skip
    return games


def make_offers(query: str, own: Sequence[Product], rival: str) -> dict[str, Offer]:
    """The seller's products, honestly and by each attack."""
    stuffing = " ".join([query] * STUFFED)
    titles, texts = [each.title for each in own], [each.text for each in own]
    first = f"{stuffing} {titles[0]}"
    return {
        HONEST: Offer(titles, texts),
        "stuffs": Offer([f"{stuffing} {t}" for t in titles], [f"{stuffing} {t}" for t in texts]),
        "copies": Offer([rival] * len(own), [f"{rival}. {text}" for text in texts]),
        "floods": Offer(
            [f"{first} no. {i}" for i in range(FLOOD)],
            [f"{stuffing} {texts[0]} No. {i}." for i in range(FLOOD)],
        ),
    }


def rank_all(
    games: Mapping[str, Sequence[Game]], models: Mapping[str, PairModel]
) -> dict[str, dict[str, list[NDArray[np.int64]]]]:
    """Rival -> way of the seller -> the order of each game's window."""
    wish = RerankSettings()
    weights = Weights(wish.relevance_weight, wish.first_stage_weight)
    found: dict[str, dict[str, list[NDArray[np.int64]]]] = {}
    known: dict[tuple[str, str, str], float] = {}

    def read(name: str, game: Game) -> Array:
        """Logits; a text is read once for its query, in whatever ways of the seller it is."""
        new = [text for text in dict.fromkeys(game.texts) if (name, game.query, text) not in known]
        scores = models[name].score_pairs(game.query, new) if new else ()
        known.update(
            {(name, game.query, text): float(s) for text, s in zip(new, scores, strict=True)}
        )
        return np.array([known[name, game.query, text] for text in game.texts])

    def note(rival: str, way: str, order: NDArray[np.int64]) -> None:
        found.setdefault(rival, {}).setdefault(way, []).append(order)

    for way, played in games.items():
        for game in played:
            note("BM25", way, np.arange(len(game.ids)))
            note("cosine", way, np.argsort(-game.cosines, kind="stable"))
            blended = blend(game.first_stage, game.cosines, weights)
            note("cosine and BM25", way, np.argsort(-blended, kind="stable"))
            for name, model in models.items():
                logits = read(name, game)
                note(f"{name}, logit", way, np.argsort(-logits, kind="stable"))
                relevance = mix(logits, game.cosines, getattr(model, "cosine_share", 0.0))
                blended = blend(game.first_stage, relevance, weights)
                note(f"{name} and BM25", way, np.argsort(-blended, kind="stable"))
                for diversity in DIVERSITY:
                    order = spread(game, blended, diversity)
                    note(f"{name} and BM25, DPP {diversity:g}", way, order)
    return found


def spread(game: Game, blended: Array, diversity: float) -> NDArray[np.int64]:
    """The DPP's order, by vectors and brands."""
    kernel = build_kernel(len(blended), game.vectors, None, {"brand": game.brands}, KernelWeights())
    assert kernel is not None, "there are vectors"
    return greedy_map(scale(blended), kernel, diversity)


def tell(
    rival: str,
    games: Mapping[str, Sequence[Game]],
    orders: Mapping[str, Sequence[NDArray[np.int64]]],
) -> list[Row]:
    """A row per attack and measure: attacking beside honest, by this rival's order."""
    rows = []
    for way in ATTACKS:
        for what, better in (
            ("place of the seller's best", "higher"),
            (f"the seller's share of the first {K}", "lower"),
            (f"nDCG@{K}", "higher"),
        ):
            ours, theirs = (
                np.array(
                    [
                        judge(what, game, order)
                        for game, order in zip(games[each], orders[each], strict=True)
                    ]
                )
                for each in (way, HONEST)
            )
            low, high = bootstrap_interval(ours - theirs)
            rows.append(
                compare_row(
                    f"{rival}, seller {way} | {what}",
                    ours=float(ours.mean()),
                    rival=f"seller {HONEST}",
                    theirs=float(theirs.mean()),
                    unit=what,
                    better="higher" if better == "higher" else "lower",
                    n=len(ours),
                    spread=Spread(low, high, DIFFERENCE),
                )
            )
    return rows


def judge(what: str, game: Game, order: NDArray[np.int64]) -> float:
    """One measure of one game."""
    ours = game.ours[order]
    if what.startswith("place"):
        return float(np.flatnonzero(ours)[0] + 1)
    if what.startswith("the seller's share"):
        return float(ours[:K].mean())
    return ndcg([game.ids[i] for i in order], game.grades, K)


if __name__ == "__main__":
    run(main)
