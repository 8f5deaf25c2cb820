"""How good and how varied a ranking is: nDCG, RR, recall, alpha_nDCG, ERR_IA, ILD, distinct values.

`ndcg`, `ild` and `distinct` judge one ranking and need numpy alone. What ends in `by_query` judges
a whole run through the library ir-measures, so that a published figure is the community's own
implementation; it needs the extra `eval`.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from es_rerank.errors import ConfigError

Qrels = Mapping[str, Mapping[str, int]]  # query -> document id -> rating, 0 and up
Run = Mapping[str, Sequence[str]]  # query -> document ids, best first

ALPHA = 0.5
MAX_RATING = 30  # 2^r - 1 must stay a 32-bit integer for trec_eval
MAX_ALPHA_K = 20  # what ndeval can judge


def ndcg(ranking: Sequence[str], grades: Mapping[str, float], k: int = 10) -> float:
    """nDCG@k of one ranking with the gain 2^r - 1 and the discount 1 / log2(rank + 1).

    Burges et al., ICML 2005; ir-measures calls it `nDCG(dcg='exp-log2')@k`. Documents without a
    grade gain nothing; without any positive grade the result is 0.
    """
    if len(set(ranking)) != len(ranking):
        raise ValueError("A ranking must not repeat a document.")
    ideal = _dcg(sorted(grades.values(), reverse=True)[:k])
    return _dcg([grades.get(document, 0) for document in ranking[:k]]) / ideal if ideal else 0.0


def _dcg(grades: Sequence[float]) -> float:
    return math.fsum(
        (2 ** max(grade, 0) - 1) / math.log2(rank + 1) for rank, grade in enumerate(grades, start=1)
    )


def ild(vectors: ArrayLike, k: int = 10) -> float:
    """Intra-list distance: the mean of 1 - cosine over the pairs of the first k rows.

    Smyth and McClave, ICCBR 2001. `vectors` is (n, d), best first, of any length; a row of zeros
    is at distance 1 from every other. nan where there are fewer than two rows.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2:
        raise ValueError(f"ild needs vectors of shape (n, d), not {rows.shape}.")
    rows = rows[:k]
    count = len(rows)
    if count < 2:
        return math.nan
    # Scaled by the largest entry first, so that squaring neither overflows nor underflows.
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    rows = np.divide(rows, largest, out=np.zeros_like(rows), where=largest > 0)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    cosines: NDArray[np.float64] = (rows @ rows.T)[np.triu_indices(count, 1)]
    return float(np.mean(1.0 - cosines))


def distinct(values: Iterable[Hashable | None], k: int = 10) -> int:
    """How many different values the first k hold; None is no value."""
    first = [value for _, value in zip(range(k), values, strict=False)]
    return len({value for value in first if value is not None})


def with_positive(qrels: Qrels) -> list[str]:
    """The queries with at least one document rated above 0: nDCG is undefined for the others."""
    return [query for query, ratings in qrels.items() if any(r > 0 for r in ratings.values())]


def rated_only(run: Run, qrels: Qrels) -> dict[str, list[str]]:
    """The run without the documents nobody has rated."""
    return {
        query: [document for document in ranking if document in qrels.get(query, {})]
        for query, ranking in run.items()
    }


def ndcg_by_query(qrels: Qrels, run: Run, k: int = 10) -> dict[str, float]:
    """nDCG@k of every query with a positive rating, as `ndcg` defines it; 0 if not in the run.

    Raises ConfigError without the extra `eval`.
    """
    library = _ir_measures()
    queries = with_positive(qrels)
    highest = max((r for query in queries for r in qrels[query].values()), default=0)
    if highest > MAX_RATING:
        raise ValueError(f"A rating of {highest} is above {MAX_RATING}.")
    # The same figure as nDCG(dcg='exp-log2'), for which ir-measures would start a Perl script that
    # rounds to five digits.
    gains = {rating: 2**rating - 1 for rating in range(highest + 1)}
    judged = [
        library.Qrel(str(number), document, max(rating, 0))
        for number, query in enumerate(queries)
        for document, rating in qrels[query].items()
    ]
    return _by_query(library, library.nDCG(gains=gains) @ k, judged, queries, run)


def alpha_ndcg_by_query(
    qrels: Qrels,
    subtopics: Mapping[str, Iterable[str]],
    run: Run,
    k: int = 10,
    alpha: float = ALPHA,
) -> dict[str, float]:
    """alpha_nDCG@k of every query with a positive rating (Clarke et al., SIGIR 2008).

    A document rated above 0 covers each of its `subtopics` (document id -> names); others, and
    unrated ones, cover nothing. k is at most 20. Raises ConfigError without the extra `eval`.
    """
    return subtopics_by_query(
        "alpha_nDCG", qrels, lambda _, document: subtopics.get(document, ()), run, k, alpha
    )


def subtopics_by_query(
    name: str,
    qrels: Qrels,
    covers: Callable[[str, str], Iterable[str]],
    run: Run,
    k: int = 10,
    alpha: float = ALPHA,
) -> dict[str, float]:
    """`alpha_nDCG` or `ERR_IA` (Chapelle et al., Information Retrieval 2011) at k, by ndeval.

    covers: query, document -> the subtopics that the document covers if it is rated above 0. A
    query of which nothing covers any is left out. k is at most 20. Raises ConfigError without the
    extra `eval`.
    """
    if not 1 <= k <= MAX_ALPHA_K:
        raise ValueError(f"{name} is judged for k from 1 to {MAX_ALPHA_K}, not {k}.")
    library = _ir_measures()
    judged: list[Any] = []
    queries: list[str] = []
    for query in with_positive(qrels):
        covered = [
            (subtopic, document)
            for document, rating in qrels[query].items()
            if rating > 0
            for subtopic in sorted(set(covers(query, document)))
        ]
        if not covered:  # no subtopic to find: undefined, like nDCG without a positive
            continue
        judged += [
            library.Qrel(str(len(queries)), document, 1, iteration=subtopic)
            for subtopic, document in covered
        ]
        queries.append(query)
    measure = library.ERR_IA @ k if name == "ERR_IA" else library.alpha_nDCG(alpha=alpha) @ k
    return _by_query(library, measure, judged, queries, run)


def binary_by_query(name: str, qrels: Qrels, run: Run) -> dict[str, float]:
    """RR, R@k, P@k, AP, Success@k … of every query with a positive rating, by ir-measures' name.

    A rating above 0 is relevant. Raises ConfigError without the extra `eval`.
    """
    library = _ir_measures()
    queries = with_positive(qrels)
    judged = [
        library.Qrel(str(number), document, int(rating > 0))
        for number, query in enumerate(queries)
        for document, rating in qrels[query].items()
    ]
    return _by_query(library, library.parse_measure(name), judged, queries, run)


def _by_query(
    library: Any, measure: Any, judged: list[Any], queries: Sequence[str], run: Run
) -> dict[str, float]:
    """Let ir-measures judge; queries go by number, since a query text may hold blanks."""
    if not queries:
        return {}
    scored = [
        library.ScoredDoc(str(number), document, float(-rank))
        for number, query in enumerate(queries)
        for rank, document in enumerate(run.get(query, ()))
    ]
    if not scored:
        return dict.fromkeys(queries, 0.0)
    found = {m.query_id: float(m.value) for m in library.iter_calc([measure], judged, scored)}
    return {query: found.get(str(number), 0.0) for number, query in enumerate(queries)}


def _ir_measures() -> Any:
    # ir-measures runs alpha_nDCG through pyndeval and would name it only when it is already at work
    for package in ("ir_measures", "pyndeval"):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"Measuring needs the package {package.replace('_', '-')}, which the extra `eval` "
                "brings: pip install 'es-rerank[eval]'"
            )
    import ir_measures

    return ir_measures
