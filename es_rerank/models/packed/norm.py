"""Layer normalisation (Ba, Kiros and Hinton, 2016)."""

from __future__ import annotations

from typing import Any


class Norm:
    """A LayerNorm's weights."""

    def __init__(self, norm: Any, eps: float, kind: Any) -> None:
        self._weight = norm.weight.detach().to(kind)
        self._bias = None if norm.bias is None else norm.bias.detach().to(kind)
        self._shape = self._weight.shape
        self._eps = eps

    def __call__(self, rows: Any) -> Any:
        import torch

        return torch.nn.functional.layer_norm(
            rows, self._shape, self._weight, self._bias, self._eps
        )
