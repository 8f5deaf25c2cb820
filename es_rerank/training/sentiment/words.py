"""The heads on words of opinion and grams: an ordinal regression each, by L-BFGS."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.models.sentiment.features import NAMES, count_words
from es_rerank.models.sentiment.grams import count_grams
from es_rerank.models.sentiment.head import BLAME, NEITHER, PRAISE, WordHead
from es_rerank.models.sentiment.lexicon import Language, read_opinions
from es_rerank.training.sentiment.compose import blemish, compose, pool_reviews
from es_rerank.training.sentiment.recipe import WordHeads
from es_rerank.training.sentiment.reviews import Review

PRIOR = {"share": 1.0, "balance": 2.0}
"""What the words of opinion are worth by themselves; weights are drawn to it, not to 0, since the
reviews written for training say little in such words, and people's say much."""


def fit_head(
    reviews: Sequence[Review],
    language: Language,
    wish: WordHeads,
    seed: int,
    neutral_weight: float,
) -> WordHead:
    """Fit one language's head. The same reviews and seed give the same head."""
    chance = random.Random(f"{seed}/{language}")
    own = [review for review in reviews if review.language == language]
    pool = pool_reviews(own, language)
    if pool[PRAISE] and pool[BLAME]:
        own += [compose(pool, language, chance) for _ in range(wish.composed)]
    texts = [blemish(review, chance) for review in own]
    words, grams = read_texts(texts, language)
    says = np.array([review.says for review in own])
    return fit_ordinal(words, grams, says, wish, neutral_weight)


def read_texts(texts: Sequence[str], language: Language) -> tuple[NDArray[np.float64], Any]:
    """Words of opinion (n, 18) and grams (n, SIZE)."""
    words = np.stack([count_words(read_opinions(text, language)) for text in texts])
    return words, count_grams(texts, language)


def fit_ordinal(
    words: NDArray[np.float64],
    grams: Any,
    says: NDArray[np.int64],
    wish: WordHeads,
    neutral_weight: float,
) -> WordHead:
    """Least penalised negative log-likelihood, each class weighed alike whatever its count.

    says: (n,) of BLAME, NEITHER, PRAISE. neutral_weight: how much `neither` weighs beside the
    others; less leaves it less room between them.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    wide, tall = words.shape[1], grams.shape[1]
    prior = np.array([PRIOR.get(name, 0.0) for name in NAMES])
    weight = weigh_classes(says, neutral_weight)
    turned = grams.T.tocsr()

    def loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        on_words, on_grams = point[:wide], point[wide : wide + tall]
        bias, cut = point[-2], np.exp(point[-1])
        scores = words @ on_words + grams @ on_grams + bias
        low, high = expit(-cut - scores), expit(scores - cut)
        middle = np.maximum(1 - low - high, 1e-12)
        chosen = np.choose(says, [low, middle, high])
        value = -float(weight @ np.log(np.maximum(chosen, 1e-12)))
        # By the score, and by the cut, of log P of what was said.
        d_low, d_high = low * (1 - low), high * (1 - high)
        by_score = np.choose(says, [-(1 - low), (d_low - d_high) / middle, 1 - high])
        by_cut = np.choose(says, [-(1 - low), (d_low + d_high) / middle, -(1 - high)])
        pull = -weight * by_score
        gradient = np.concatenate(
            [
                words.T @ pull + 2 * wish.words_decay * (on_words - prior),
                turned @ pull + 2 * wish.grams_decay * on_grams,
                [pull.sum(), float(-weight @ by_cut) * cut],
            ]
        )
        value += wish.words_decay * float(((on_words - prior) ** 2).sum())
        value += wish.grams_decay * float(on_grams @ on_grams)
        return value, gradient

    start = np.zeros(wide + tall + 2)
    start[:wide] = prior
    start[-1] = np.log(0.5)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    point = found.x
    cut = float(np.exp(point[-1]))
    return WordHead(point[:wide], point[wide : wide + tall], float(point[-2]), -cut, cut)


def weigh_classes(says: NDArray[np.int64], neutral_weight: float) -> NDArray[np.float64]:
    """A weight for each, (n,), that sum to 1: classes weigh alike, `neither` so much of it."""
    sizes = np.maximum(np.bincount(says, minlength=3), 1)
    weight = np.where(says == NEITHER, neutral_weight, 1.0) / sizes[says]
    shares: NDArray[np.float64] = weight / weight.sum()
    return shares


def calibrate(
    scores: NDArray[np.float64], says: NDArray[np.int64], between: float
) -> tuple[float, float]:
    """A factor on the scores, and half the distance of the cuts, by reviews that are held out.

    The factor makes held-out praise and blame likeliest: training is surer of what it has seen. The
    cuts are where a share `between` of them, the least sure, is likelier neither. The sign of a
    score stays. (1, 0.5) where praise or blame is missing.
    """
    from scipy.optimize import brentq, minimize_scalar
    from scipy.special import expit, log_expit

    polar = says != NEITHER
    if not {BLAME, PRAISE} <= set(says.tolist()):
        return 1.0, 0.5
    weight = weigh_classes(says[polar], 0.0)
    towards = scores[polar] * np.where(says[polar] == PRAISE, 1.0, -1.0)

    def loss(power: float) -> float:
        return float(-weight @ log_expit(np.exp(power) * towards)) + 0.01 * power**2

    scale = float(np.exp(minimize_scalar(loss, bounds=(-4, 2), method="bounded").x))
    zone = float(np.quantile(np.abs(scale * towards), between))

    def excess(cut: float) -> float:
        # At the zone's edge `neither` is as likely as praise.
        return float(1 - expit(-cut - zone) - 2 * expit(zone - cut))

    return scale, float(brentq(excess, 0.0, zone + 50.0))


def rescale(head: WordHead, scale: float, cut: float) -> WordHead:
    """The head with a factor on its scores, and other cuts."""
    return WordHead(head.words * scale, head.grams * scale, head.bias * scale, -cut, cut)


def score_reviews(head: WordHead, reviews: Sequence[Review]) -> NDArray[np.float64]:
    """The scores of reviews of one language, (n,)."""
    if not reviews:
        return np.zeros(0)
    return head.score(*read_texts([review.text for review in reviews], reviews[0].language))
