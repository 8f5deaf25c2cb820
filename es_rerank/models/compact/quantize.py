"""int8: every matrix as whole numbers of eight bits with a scale for each row, on disk.

A row is scaled by its largest value (symmetric, per output channel), so that what was quantised
once is not rounded again. It is computed with as the numbers that these stand for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from es_rerank.errors import ModelError
from es_rerank.models.compact.folder import (
    Backend,
    copy_beside,
    find_folder,
    require_original,
    write_backend,
)

FILE = "model.int8.safetensors"
SCALE = ".scale"
LEVELS = 127
TINY = 1e-8


def quantize(name: str, folder: Path) -> None:
    """Write a cross-encoder's folder with its matrices in int8. Raises ModelError."""
    from safetensors.torch import save_file

    from es_rerank.models.cross_encoder import load_classifier

    require_original(name, "quantise")
    model = load_classifier(name)
    save_file(pack(model.state_dict()), folder / FILE)
    copy_beside(find_folder(name), folder)
    write_backend(folder, Backend("int8", FILE, name))


def pack(state: dict[str, Any]) -> dict[str, Any]:
    """Matrices as int8 with their rows' scales beside them; all else as it is."""
    import torch

    packed: dict[str, Any] = {}
    for name, weights in state.items():
        if weights.ndim != 2 or not weights.is_floating_point():
            packed[name] = weights.contiguous()
            continue
        scales = weights.float().abs().amax(dim=1).clamp_min(TINY) / LEVELS
        packed[name] = (weights.float() / scales[:, None]).round().to(torch.int8)
        packed[name + SCALE] = scales
    return packed


def unpack(packed: dict[str, Any]) -> dict[str, Any]:
    """The weights that `pack` was given, rounded, in fp32."""
    return {
        name: weights
        if (scales := packed.get(name + SCALE)) is None
        else weights.float() * scales[:, None]
        for name, weights in packed.items()
        if not name.endswith(SCALE)
    }


def load_quantized(name: str, backend: Backend, config: Any) -> Any:
    """The classifier with its weights. Raises ModelError."""
    from safetensors.torch import load_file
    from transformers import AutoModelForSequenceClassification

    try:
        weights = unpack(load_file(find_folder(name) / backend.file))
        kind: Any = AutoModelForSequenceClassification
        model = kind.from_config(config)
        model.load_state_dict(weights)
    except Exception as error:  # safetensors and torch raise classes of their own
        raise ModelError(
            f"model {name!r} could not be loaded ({str(error).splitlines()[0]}): make it anew with "
            "`es-rerank model quantize`"
        ) from error
    return model.eval()
