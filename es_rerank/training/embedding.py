"""The embedder as a task of the training loop: query and text apart, compared by the cosine.

Loss: each query's products among all of its part's products, as a softmax over cosines; those of
its own group are the hard negatives, those of the others the easy ones (in-batch negatives;
Karpukhin et al., EMNLP 2020). The wanted shares are the gains 2^g - 1, so that with one good
product it is InfoNCE. Another group's product that is nearly one of the good ones is left out
(after Solatorio, GISTEmbed, 2024).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from es_rerank.models.network import mean_rows
from es_rerank.models.runtime import load_pretrained
from es_rerank.models.tokenizer import load_tokenizer
from es_rerank.training.adapt import adapt_encoder, trained
from es_rerank.training.dataset import Dataset
from es_rerank.training.devices import Team
from es_rerank.training.grading import GOOD
from es_rerank.training.groups import Group
from es_rerank.training.recipe import Recipe
from es_rerank.training.reranking import ndcg_by_group
from es_rerank.training.train import Measured, Run


class Twin(nn.Module):
    """A mean-pooled encoder, and what its cosines are multiplied by, which is learnt."""

    def __init__(self, encoder: Any, temperature: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.closeness = nn.Parameter(torch.tensor(1.0 / temperature))

    def forward(self, inputs: Any) -> Tensor:
        """Unit rows (n, d) of tokenized texts, padded."""
        hidden = self.encoder(**inputs).last_hidden_state
        means = mean_rows(hidden, inputs["attention_mask"].to(hidden.dtype))
        return nn.functional.normalize(means.float(), dim=-1)


@dataclass
class Embedding:
    """Reads queries and texts apart."""

    recipe: Recipe
    data: Dataset
    team: Team = field(default_factory=Team)

    def __post_init__(self) -> None:
        wish = self.recipe.adapter
        self.tokenizer = load_tokenizer(wish.backbone, wish.max_tokens)

    def start(self) -> Run:
        """A run at its first step; the same weights for every seed."""
        recipe, device = self.recipe, self.team.device
        torch.manual_seed(recipe.labels.seed)
        wish = recipe.adapter
        network = Twin(load_plain(wish.backbone), recipe.embedder.temperature)
        steps = recipe.schedule.steps
        adapt_encoder(network.encoder, wish.method, wish.rank, wish.layers, wish.dropout, steps)
        network.to(device)
        average = {name: p.detach().clone() for name, p in trained(network).items()}
        return Run(network, torch.zeros((), device=device), torch.zeros(2, device=device), average)

    def draw(self, part: Sequence[Group], chance: random.Random) -> Sequence[int]:
        """Nothing is left to chance."""
        return ()

    def lose(
        self, run: Run, part: Sequence[Group], drawn: Sequence[int], told: dict[str, float]
    ) -> Tensor:
        """The groups' losses, summed; adds each term to `told`."""
        rows = np.unique(np.concatenate([group.rows for group in part]))
        texts = [group.query for group in part] + [self.data.texts[row] for row in rows]
        bf16 = self.recipe.schedule.precision == "bf16"
        device = self.team.device
        inputs = self.tokenizer.pad(self.tokenizer.encode(texts), range(len(texts)), str(device))
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            vectors = run.network(inputs)
        cosines = vectors[: len(part)] @ vectors[len(part) :].T
        gains, left_out = self.compare(part, rows)
        scores = (run.network.closeness * cosines).masked_fill(left_out.to(device), -1e9)
        shares = gains / gains.sum(dim=1, keepdim=True).clamp_min(1e-9)
        loss: Tensor = -(shares.to(device) * torch.log_softmax(scores, dim=1)).sum()
        told["contrastive"] = told.get("contrastive", 0.0) + float(loss.detach())
        return loss

    def compare(self, part: Sequence[Group], rows: NDArray[np.int32]) -> tuple[Tensor, Tensor]:
        """Gains of each product for each query, and which are left out, both (queries, rows)."""
        gains = torch.zeros(len(part), len(rows))
        left_out = torch.zeros(len(part), len(rows), dtype=torch.bool)
        alike = self.data.vectors[rows] @ self.data.vectors[rows].T
        for i, group in enumerate(part):
            own = np.searchsorted(rows, group.rows)
            gains[i, own] = torch.from_numpy(2.0**group.grades - 1.0).float()
            good = own[group.grades >= GOOD]
            if len(good):
                near = alike[good].max(axis=0) >= self.recipe.embedder.near
                near[own] = False
                left_out[i] = torch.from_numpy(near)
        return gains, left_out

    def measure(self, run: Run) -> Measured:
        """nDCG@10 of held-out windows by the cosine."""
        found = float(ndcg_by_group(self.data.held, self.score(run.network)).mean())
        plain = [group.cosines for group in self.data.held]
        before = float(ndcg_by_group(self.data.held, plain).mean())
        text = f"held-out nDCG@10 {found:.4f}, {before:.4f} before training"
        return Measured(found, text, {"ndcg10": found})

    def score(self, network: Twin) -> list[NDArray[np.float64]]:
        """The cosines of each held-out window's products."""
        network.eval()
        found = []
        with torch.inference_mode():
            for group in self.data.held:
                texts = [group.query, *(self.data.texts[row] for row in group.rows)]
                encoded = self.tokenizer.encode(texts)
                device = str(self.team.device)
                vectors = network(self.tokenizer.pad(encoded, range(len(texts)), device))
                found.append((vectors[1:] @ vectors[0]).double().cpu().numpy())
        return found


def load_plain(name: str) -> Any:
    """A backbone as it is, in float32. Raises ModelError."""
    from transformers import AutoModel

    return load_pretrained(AutoModel, name).float()
