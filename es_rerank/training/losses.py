"""What training minimises: L = L_relevance + lambda · L_diversity, and terms that can be added.

All take one query's group. scores: (m,) float. grades: (m,) 0 to 3. facets: (m, e) unit rows.
slate: places of the target slate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid, softplus

Relevance = Callable[[Tensor, Tensor], Tensor]
Diversity = Callable[[Tensor, Tensor, Sequence[int]], Tensor]
RIDGE = 1e-3
"""Added to the kernel's diagonal, so that a slate larger than its rank has a determinant."""
WIDEST = 4.0


def listwise(scores: Tensor, grades: Tensor) -> Tensor:
    """Cross entropy between gains 2^g - 1, as shares, and the scores' softmax.

    ListNet's top-one form (Cao et al., ICML 2007) with the gain of nDCG.
    """
    gains = torch.pow(2.0, grades) - 1.0
    return -(gains / gains.sum().clamp_min(1e-9) * log_softmax(scores, dim=0)).sum()


def pairwise(scores: Tensor, grades: Tensor) -> Tensor:
    """RankNet (Burges et al., ICML 2005): each better one above each worse, by how much."""
    better = (grades[:, None] - grades[None, :]).clamp_min(0.0)
    return (better * softplus(scores[None, :] - scores[:, None])).sum() / better.sum().clamp_min(
        1e-9
    )


def info_nce(scores: Tensor, grades: Tensor) -> Tensor:
    """Each good one against all bad ones (van den Oord et al., 2018)."""
    good, bad = scores[grades >= 2.0], scores[grades < 1.0]
    if not len(good) or not len(bad):
        return scores.sum() * 0.0
    rivals = torch.logsumexp(bad, dim=0)
    return -logsigmoid(good - rivals).mean()


def dpp(scores: Tensor, facets: Tensor, slate: Sequence[int]) -> Tensor:
    """Negative log-likelihood of the slate under a DPP, per item of the slate.

    log det(L_Y) - log det(L + I) with L = diag(q) Z Zᵀ diag(q), q = exp(score / 2) about the mean
    (Kulesza and Taskar, 2012). Gradients reach the scores and, through the kernel, the facets.
    """
    centred = (scores - scores.mean()).clamp(-2 * WIDEST, 2 * WIDEST) / 2
    quality = torch.exp(centred)
    one = torch.eye(len(scores), device=scores.device)
    kernel = facets @ facets.T + RIDGE * one
    kernel = quality[:, None] * kernel * quality[None, :]
    chosen = torch.as_tensor(list(slate))
    inside: Tensor = torch.linalg.slogdet(kernel[chosen][:, chosen])[1]
    everything: Tensor = torch.linalg.slogdet(kernel + one)[1]
    return (everything - inside) / len(slate)


def softmax_diversity(scores: Tensor, facets: Tensor, slate: Sequence[int]) -> Tensor:
    """The plain form: each of the slate in turn against what is left, less its likeness to those
    chosen (the greedy step of MMR, Carbonell and Goldstein, SIGIR 1998, as a softmax)."""
    alike = facets @ facets.T
    left = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
    loss = scores.sum() * 0.0
    for place, item in enumerate(slate):
        seen = list(slate[:place])
        crowd = alike[:, seen].amax(dim=1) if seen else torch.zeros_like(scores)
        gains = (scores - WIDEST * crowd).masked_fill(~left, -1e9)
        loss = loss - log_softmax(gains, dim=0)[item]
        left[item] = False
    return loss / len(slate)


def unfairness(scores: Tensor, grades: Tensor, owners: Tensor) -> Tensor:
    """How far the owners' shares of exposure lie from their shares of merit, squared and summed.

    owners: (m,) a number per seller or brand. Exposure is the softmax of the scores, merit the gain
    (Singh and Joachims, KDD 2018, as a penalty).
    """
    gains = torch.pow(2.0, grades) - 1.0
    surplus = torch.softmax(scores, dim=0) - gains / gains.sum().clamp_min(1e-9)
    sums = torch.zeros(int(owners.max()) + 1, device=scores.device).index_add(0, owners, surplus)
    return (sums**2).sum()


def harm(scores: Tensor, harmful: Tensor) -> Tensor:
    """-log of the exposure that is left to texts which are not harmful; 0 where none is.

    harmful: (m,) bool. Exposure is the softmax of the scores, as in `unfairness`.
    """
    if not bool(harmful.any()) or bool(harmful.all()):
        return scores.sum() * 0.0
    return torch.logsumexp(scores, dim=0) - torch.logsumexp(scores[~harmful], dim=0)


def distil_shares(scores: Tensor, told: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of the scores' softmax from the teacher's, both at a temperature.

    told: (m,) the teacher's scores. Times the squared temperature, so that gradients keep their
    size (Hinton et al., 2015).
    """
    shares = torch.softmax(told / temperature, dim=0)
    own = log_softmax(scores / temperature, dim=0)
    known = log_softmax(told / temperature, dim=0)
    return (shares * (known - own)).sum() * temperature**2


def distil_margins(scores: Tensor, told: Tensor, temperature: float) -> Tensor:
    """Margin-MSE (Hofstaetter et al., 2020): the teacher's differences between two texts, squared
    error over all pairs. A temperature above 1 shrinks the teacher's."""
    off = scores - told / temperature
    return 2.0 * (off - off.mean()).square().sum() / max(len(scores) - 1, 1)
