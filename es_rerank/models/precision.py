"""In which numbers a model is computed, by what the device can do."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, get_args

from es_rerank.errors import ModelError

Precision = Literal["fp32", "bf16", "fp16", "int8"]


def choose_precision(wanted: str, device: str) -> Precision:
    """Turn `auto` into what is fast without loss there; anything else is kept.

    On a CPU that is bf16 where it multiplies bf16 itself, else fp32; int8 is never chosen, since
    what it loses depends on the model. Raises ModelError for what the device cannot do.
    """
    import torch

    if wanted == "auto":
        if device.startswith("cuda"):
            return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
        return "bf16" if device == "cpu" and has_bf16() else "fp32"
    if wanted == "int8" and device != "cpu":
        raise ModelError(
            f"precision 'int8' is for CPUs, and the model runs on {device}: set [model] "
            "precision = 'auto', or device = 'cpu'"
        )
    for known in get_args(Precision):
        if wanted == known:
            return known  # type: ignore[no-any-return]
    raise ModelError(f"[model] precision {wanted!r} is unknown: auto, fp32, bf16, fp16 or int8")


def has_bf16() -> bool:
    """Whether the CPU multiplies bf16 itself (AVX-512 BF16 or AMX)."""
    return _can("avx512_bf16") or _can("amx_bf16")


def has_avx512() -> bool:
    """Whether the CPU has AVX-512."""
    return _can("avx512_f")


def has_vnni() -> bool:
    """Whether the CPU sums products of int8 without loss."""
    return _can("avx512_vnni") or _can("avx_vnni") or _can("amx_int8") or not _can("avx2")


@cache
def _capabilities() -> dict[str, Any]:
    import torch

    return dict(torch.cpu.get_capabilities())


def _can(what: str) -> bool:
    return bool(_capabilities().get(what, False))
