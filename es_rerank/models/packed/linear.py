"""Linear layers with their weights laid out once: fp32, bf16, fp16, int8."""

from __future__ import annotations

from typing import Any, Protocol

from es_rerank.models.precision import Precision, has_avx512, has_bf16, has_vnni


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


class Int8Linear:
    """oneDNN's product of int8, exact sums: weights scaled for each output, rows for each call.

    levels: of the rows. Where the CPU has no VNNI, two products are summed in 16 bits, which hold
    them only for 7 bits of one and 8 of the other.
    """

    def __init__(self, weight: Any, bias: Any, levels: int) -> None:
        import torch

        self._scales = weight.abs().amax(dim=1).clamp_min(1e-8).float() / 127
        whole = (weight / self._scales[:, None]).round().to(torch.int8)
        self._ops: Any = torch.ops.onednn
        self._weight = self._ops.qlinear_prepack(whole, None)
        self._zeros = torch.zeros(len(whole), dtype=torch.int64)
        self._bias = bias
        self._levels = levels

    def __call__(self, rows: Any) -> Any:
        import torch

        low, high = (float(x) for x in rows.aminmax())
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / self._levels, 1e-12)
        zero = round(-low / scale)
        # Half a level is added since what follows cuts off; that keeps it within 0..levels.
        whole = torch.add(torch.full((), zero + 0.5), rows, alpha=1 / scale).to(torch.uint8)
        return self._ops.qlinear_pointwise(
            whole, scale, zero, self._weight, self._scales, self._zeros, self._bias,
            1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip

    def add_to(self, residual: Any, rows: Any) -> Any:
        return residual.add_(self(rows))


def pack_linear(weight: Any, bias: Any, precision: Precision) -> Linear:
    """The fastest layer for the weights (out, in) and the bias (out,), or None for no bias.

    The weights are taken in fp32 and turned into the precision here.
    """
    import torch

    if precision == "int8":
        return Int8Linear(weight, bias, 255 if has_vnni() else 127)
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    weight = weight.to(kind)
    bias = None if bias is None else bias.to(kind)
    if weight.device.type == "cpu" and prefers_onednn(precision):
        return OneDnnLinear(weight, bias)
    return PlainLinear(weight, bias)


def prefers_onednn(precision: Precision) -> bool:
    """Whether oneDNN's packed weights are the faster ones on this CPU."""
    import torch

    backend: Any = torch.backends.mkldnn
    if not backend.is_available() or precision == "fp16":
        return False
    return has_bf16() if precision == "bf16" else has_avx512()
