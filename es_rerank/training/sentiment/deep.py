"""The deep head: LoRA on the backbone's last layers, trained with the head that reads its mean.

A run goes on where it was stopped: every step draws its batch from the seed and its own number.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from es_rerank.models.network import load_encoder, mean_rows
from es_rerank.models.runtime import plan_batches
from es_rerank.models.sentiment.features import NAMES, count_words
from es_rerank.models.sentiment.head import BLAME, NEITHER, PRAISE
from es_rerank.models.sentiment.lexicon import read_opinions
from es_rerank.models.sentiment.text import encoded_part
from es_rerank.models.tokenizer import Tokenizer, load_tokenizer
from es_rerank.training.adapt import adapt_encoder, trained
from es_rerank.training.dataset import Say
from es_rerank.training.sentiment.compose import blemish, compose, pool_reviews
from es_rerank.training.sentiment.recipe import SentimentTraining
from es_rerank.training.sentiment.reviews import Review

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
LOG = "log.jsonl"
MIN_CUT = 0.2
TOKEN_BUDGET = 1500
"""Padded tokens of a forward in training."""


class DeepNetwork(nn.Module):
    """The encoder, and a score of the mean of its rows and of the words of opinion.

    cut: the logarithm of half the distance between the two cuts, which lie around 0.
    """

    def __init__(self, encoder: Any, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.mean = nn.Linear(int(encoder.config.hidden_size), 1)
        self.words = nn.Linear(len(NAMES), 1, bias=False)
        self.cut = nn.Parameter(torch.tensor(math.log(0.5)))
        nn.init.zeros_(self.mean.weight)
        nn.init.zeros_(self.mean.bias)
        nn.init.zeros_(self.words.weight)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, words: Tensor) -> Tensor:
        """input_ids, attention_mask: (n, t). words: (n, 18). Returns scores (n,)."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mean = self.dropout(mean_rows(hidden, attention_mask.to(hidden.dtype)))
        scores: Tensor = (self.mean(mean) + self.words(words)).squeeze(-1)
        return scores


@dataclass
class Run:
    """A network under training."""

    network: DeepNetwork
    tokenizer: Tokenizer
    step: int = 0
    best: float = math.inf
    best_step: int = 0


def ordinal_loss(scores: Tensor, says: Tensor, cut: Tensor, weights: Tensor) -> Tensor:
    """Weighted negative log-likelihood of what was said. scores, says, weights: (n,)."""
    half = cut.exp().clamp_min(MIN_CUT)
    low = nn.functional.logsigmoid(-half - scores)
    high = nn.functional.logsigmoid(scores - half)
    middle = torch.log((1 - low.exp() - high.exp()).clamp_min(1e-6))
    chosen = torch.where(says == BLAME, low, torch.where(says == PRAISE, high, middle))
    return -(weights * chosen).sum() / weights.sum()


def train_deep(
    recipe: SentimentTraining,
    train: Sequence[Review],
    held: Sequence[Review],
    folder: Path,
    say: Say,
) -> Run:
    """Train on English reviews, or go on; the weights with the least held-out loss are loaded."""
    plan, wish = recipe.schedule, recipe.deep
    torch.set_num_threads(plan.threads)
    torch.manual_seed(plan.seed)
    encoder = load_encoder(wish.backbone)
    adapt_encoder(encoder, "lora", wish.rank, wish.layers, wish.dropout, plan.steps)
    run = Run(DeepNetwork(encoder, wish.dropout), load_tokenizer(wish.backbone, wish.max_tokens))
    named = trained(run.network)
    on_head = [p for name, p in named.items() if not name.startswith("encoder.")]
    on_encoder = [p for name, p in named.items() if name.startswith("encoder.")]
    optimizer = torch.optim.AdamW(
        [
            {"params": on_encoder, "top": plan.learning_rate},
            {"params": on_head, "top": plan.head_rate},
        ],
        weight_decay=plan.weight_decay,
    )
    _resume(run, optimizer, folder, say)
    sources = _sources(train)
    with (folder / LOG).open("a") as log:
        while run.step < plan.steps:
            loss = _take_step(recipe, run, optimizer, sources)
            if run.step % 10 == 0:
                log.write(json.dumps({"step": run.step, "loss": round(loss, 4)}) + "\n")
                log.flush()
            if run.step % plan.evaluate_every == 0 or run.step == plan.steps:
                _validate(run, held, folder, say)
            if run.step % plan.checkpoint_every == 0 or run.step == plan.steps:
                _save(run, optimizer, folder)
    if (folder / BEST).is_file():
        _load(run.network, torch.load(folder / BEST, weights_only=True))
    return run


def score_deep(run: Run, texts: Sequence[str]) -> NDArray[np.float64]:
    """Scores (n,)."""
    run.network.eval()
    found = np.zeros(len(texts))
    if not texts:
        return found
    with torch.inference_mode():
        for rows, given in _batches(run.tokenizer, texts):
            found[rows] = run.network(**given).double().numpy()
    return found


def _sources(train: Sequence[Review]) -> dict[str, list[Review]]:
    english = [review for review in train if review.language == "en"]
    return {
        "template": [review for review in english if review.origin == "template"],
        "other": [review for review in english if review.origin != "template"],
        "all": english,
    }


def _draw(
    recipe: SentimentTraining, sources: Mapping[str, list[Review]], chance: random.Random
) -> list[Review]:
    plan = recipe.schedule
    pool = pool_reviews(sources["all"], "en")
    can_compose = bool(pool[PRAISE] and pool[BLAME])
    taken = []
    for _ in range(plan.batch):
        kind = chance.random()
        if kind < plan.composed and can_compose:
            taken.append(compose(pool, "en", chance))
        elif kind < plan.composed + plan.templates and sources["template"]:
            taken.append(chance.choice(sources["template"]))
        else:
            taken.append(chance.choice(sources["other"] or sources["all"]))
    return taken


def _take_step(
    recipe: SentimentTraining,
    run: Run,
    optimizer: torch.optim.Optimizer,
    sources: Mapping[str, list[Review]],
) -> float:
    plan = recipe.schedule
    seed = plan.seed * 1_000_003 + run.step
    torch.manual_seed(seed)
    chance = random.Random(seed)
    taken = _draw(recipe, sources, chance)
    texts = [blemish(review, chance) for review in taken]
    says = torch.tensor([review.says for review in taken])
    weights = torch.where(says == NEITHER, plan.neutral_weight, 1.0)
    for group in optimizer.param_groups:
        group["lr"] = group["top"] * _pace(recipe, run.step)
    run.network.train()
    optimizer.zero_grad(set_to_none=True)
    told = 0.0
    whole = float(weights.sum())
    for rows, given in _batches(run.tokenizer, texts):
        own = weights[rows]
        loss = ordinal_loss(run.network(**given), says[rows], run.network.cut, own)
        loss = loss * (float(own.sum()) / whole)
        loss.backward()  # type: ignore[no-untyped-call]
        told += float(loss.detach())
    nn.utils.clip_grad_norm_(trained(run.network).values(), 1.0)
    optimizer.step()
    run.step += 1
    return told


def _batches(tokenizer: Tokenizer, texts: Sequence[str]) -> Any:
    """Rows and what the network takes, texts of like length together."""
    encoded = tokenizer.encode([encoded_part(text) for text in texts])
    words = np.stack([count_words(read_opinions(text, "en")) for text in texts])
    for rows in plan_batches([len(ids) for ids in encoded["input_ids"]], TOKEN_BUDGET):
        given = dict(tokenizer.pad(encoded, rows, "cpu"))
        given.pop("token_type_ids", None)
        yield rows, {**given, "words": torch.from_numpy(words[rows]).float()}


def _pace(recipe: SentimentTraining, step: int) -> float:
    """Linear warm-up, then a cosine down to a twentieth."""
    plan = recipe.schedule
    warm = max(1, round(plan.warmup * plan.steps))
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(plan.steps - warm, 1)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _validate(run: Run, held: Sequence[Review], folder: Path, say: Say) -> None:
    own = [review for review in held if review.language == "en"]
    if not own:
        return
    scores = torch.from_numpy(score_deep(run, [review.text for review in own]))
    says = torch.tensor([review.says for review in own])
    weights = torch.where(says == NEITHER, 0.5, 1.0).double()
    with torch.inference_mode():
        loss = float(ordinal_loss(scores, says, run.network.cut.double(), weights))
    polar = says != NEITHER
    right = float(((scores > 0) == (says == PRAISE))[polar].double().mean())
    say(f"step {run.step}: held-out loss {loss:.4f}, {right:.1%} of praise and blame told apart")
    if loss < run.best:
        run.best, run.best_step = loss, run.step
        kept = {name: p.detach().clone() for name, p in trained(run.network).items()}
        torch.save(kept, folder / BEST)


def _load(network: DeepNetwork, weights: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, p in trained(network).items():
            p.copy_(weights[name])


def _save(run: Run, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    state = {
        "weights": {name: p.detach() for name, p in trained(run.network).items()},
        "optimizer": optimizer.state_dict(),
        "step": run.step,
        "best": run.best,
        "best_step": run.best_step,
    }
    torch.save(state, folder / f"{CHECKPOINT}.new")
    (folder / f"{CHECKPOINT}.new").replace(folder / CHECKPOINT)


def _resume(run: Run, optimizer: torch.optim.Optimizer, folder: Path, say: Say) -> None:
    if not (folder / CHECKPOINT).is_file():
        return
    state = torch.load(folder / CHECKPOINT, weights_only=True)
    _load(run.network, state["weights"])
    optimizer.load_state_dict(state["optimizer"])
    run.step, run.best, run.best_step = state["step"], state["best"], state["best_step"]
    say(f"Going on from step {run.step} ...")
