from __future__ import annotations

import itertools
import math

import pytest
import torch

from es_rerank.training import losses

GRADES = torch.tensor([3.0, 3.0, 1.0, 0.0])
GOOD = torch.tensor([3.0, 3.0, 1.0, -1.0])


@pytest.mark.parametrize("loss", [losses.listwise, losses.pairwise, losses.info_nce])
def test_relevance_is_least_where_the_order_is_right(loss: losses.Relevance) -> None:
    assert loss(GOOD, GRADES) < loss(torch.zeros(4), GRADES) < loss(-GOOD, GRADES)


def test_the_dpp_is_a_probability_over_all_slates() -> None:
    torch.manual_seed(1)
    scores = torch.randn(4, dtype=torch.float32)
    facets = torch.nn.functional.normalize(torch.randn(4, 3), dim=-1)
    total = 0.0
    for size in range(1, 5):
        for slate in itertools.combinations(range(4), size):
            total += math.exp(-float(losses.dpp(scores, facets, slate)) * size)
    quality = torch.exp((scores - scores.mean()) / 2)
    kernel = quality[:, None] * (facets @ facets.T + losses.RIDGE * torch.eye(4)) * quality
    empty = 1.0 / float(torch.linalg.det(kernel + torch.eye(4)))
    assert total + empty == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("loss", [losses.dpp, losses.softmax_diversity])
def test_twins_on_a_slate_cost_and_their_gradient_parts_them(loss: losses.Diversity) -> None:
    scores = torch.tensor([1.0, 1.0, 1.0])
    alike = torch.tensor([[1.0, 0, 0], [0.99, math.sqrt(1 - 0.99**2), 0], [0, 0, 1.0]])
    assert loss(scores, alike, (0, 2)) < loss(scores, alike, (0, 1))
    facets = alike.clone().requires_grad_()
    torch.autograd.backward(loss(scores, facets, (0, 1)))
    assert facets.grad is not None
    step = torch.nn.functional.normalize((facets - 0.01 * facets.grad).detach(), dim=-1)
    assert float(step[0] @ step[1]) < float(alike[0] @ alike[1])


def test_exposure_beyond_merit_costs() -> None:
    owners = torch.tensor([0, 1, 1, 0])
    fair = torch.log(torch.pow(2.0, GRADES) - 1.0 + 1e-9)
    assert losses.unfairness(fair, GRADES, owners) == pytest.approx(0.0, abs=1e-6)
    assert losses.unfairness(torch.tensor([9.0, 0, 0, 0]), GRADES, owners) > 0.1
