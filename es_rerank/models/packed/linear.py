"""Linear layers with their weights laid out once: fp32, bf16, fp16."""

from __future__ import annotations

from typing import Any, Literal, Protocol

Precision = Literal["fp32", "bf16", "fp16"]


class Linear(Protocol):
    """y = x W^T + b of packed rows, (t, in) to (t, out)."""

    def __call__(self, rows: Any) -> Any: ...

    def add_to(self, residual: Any, rows: Any) -> Any:
        """residual + y. The residual may be overwritten."""


class PlainLinear:
    """torch's own product, of whatever type the weights have.

    On a CPU with AVX2 alone MKL's product is as fast as oneDNN's with packed weights.
    """

    def __init__(self, weight: Any, bias: Any) -> None:
        self._weight = weight
        self._across = weight.t()
        self._bias = bias

    def __call__(self, rows: Any) -> Any:
        import torch

        return torch.nn.functional.linear(rows, self._weight, self._bias)

    def add_to(self, residual: Any, rows: Any) -> Any:
        if self._bias is not None:
            residual.add_(self._bias)
        return residual.addmm_(rows, self._across)


class OneDnnLinear:
    """oneDNN's product with the weights in its own layout, the sum with the residual in one go."""

    def __init__(self, weight: Any, bias: Any) -> None:
        import torch

        self._ops: Any = torch.ops.mkldnn
        self._weight = self._ops._reorder_linear_weight(weight.contiguous())
        self._bias = bias

    def __call__(self, rows: Any) -> Any:
        return self._ops._linear_pointwise(rows, self._weight, self._bias, "none", [], "")

    def add_to(self, residual: Any, rows: Any) -> Any:
        return self._ops._linear_pointwise.binary(rows, residual, self._weight, self._bias, "add")


def pack_linear(weight: Any, bias: Any, precision: Precision) -> Linear:
    """The fastest layer for the weights (out, in) and the bias (out,), or None for no bias.

    The weights are taken in fp32 and turned into the precision here.
    """
    import torch

    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    weight = weight.to(kind)
    bias = None if bias is None else bias.to(kind)
    if weight.device.type == "cpu" and prefers_onednn(precision):
        return OneDnnLinear(weight, bias)
    return PlainLinear(weight, bias)


def prefers_onednn(precision: Precision) -> bool:
    """Whether oneDNN's packed weights are the faster ones on this CPU."""
    import torch

    ops: Any = torch.ops.mkldnn
    backend: Any = torch.backends.mkldnn
    if not backend.is_available() or precision == "fp16":
        return False
    if precision == "bf16":
        return bool(ops._is_mkldnn_bf16_supported())
    return "AVX512" in torch.backends.cpu.get_cpu_capability()
