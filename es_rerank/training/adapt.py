"""Which of the backbone's weights training may change, and what of that is kept.

full: all. top: the last n layers. lora: W + b a beside frozen matrices (Hu et al., ICLR 2022).
adalora: the same with ranks that are pruned while training (Zhang et al., ICLR 2023). houlsby: a
bottleneck after each layer's two parts (Houlsby et al., ICML 2019). All but the last are merged
when loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from es_rerank.errors import ConfigError
from es_rerank.models.network import Bottleneck, Network, bottlenecks

Method = Literal["full", "top", "lora", "adalora", "houlsby"]
MATRICES = ("query", "key", "value", "dense")


def adapt(
    network: Network, method: Method, rank: int, layers: int, dropout: float, steps: int
) -> None:
    """Freeze the backbone but for what the method trains, in the last `layers` layers; the heads
    are trained.

    rank: of LoRA, the width of a bottleneck. steps: of the whole training, which AdaLoRA plans by.
    """
    adapt_encoder(network.encoder, method, rank, layers, dropout, steps)
    network.closeness.requires_grad_(True)
    network.relevance.requires_grad_(True)
    network.facets.requires_grad_(True)


def adapt_encoder(
    encoder: Any, method: Method, rank: int, layers: int, dropout: float, steps: int
) -> None:
    """The same for an encoder without heads. Raises ConfigError for layers that it has not."""
    count = int(encoder.config.num_hidden_layers)
    if layers > count:
        raise ConfigError(f"[adapter] layers = {layers}, but the backbone has {count}")
    chosen = range(count - layers, count)
    encoder.requires_grad_(method == "full")
    if method == "top":
        for i in chosen:
            encoder.encoder.layer[i].requires_grad_(True)
    elif method in {"lora", "adalora"}:
        _add_low_rank(encoder, method, rank, chosen, dropout, steps)
    elif method == "houlsby":
        for i in chosen:
            layer = encoder.encoder.layer[i]
            width = int(encoder.config.hidden_size)
            layer.attention.output.dense = Bottleneck(layer.attention.output.dense, width, rank)
            layer.output.dense = Bottleneck(layer.output.dense, width, rank)


def _add_low_rank(
    encoder: nn.Module, method: str, rank: int, layers: range, dropout: float, steps: int
) -> None:
    """Put peft's matrices beside those of the chosen layers, in place."""
    from peft import AdaLoraConfig, LoraConfig, inject_adapter_in_model

    inside = "|".join(map(str, layers))
    targets = rf"encoder\.layer\.({inside})\..*\.({'|'.join(MATRICES)})"
    config: Any
    if method == "lora":
        config = LoraConfig(
            r=rank, lora_alpha=2 * rank, lora_dropout=dropout, target_modules=targets
        )
    else:
        config = AdaLoraConfig(
            init_r=rank + rank // 2,
            target_r=rank,
            lora_alpha=2 * rank,
            lora_dropout=dropout,
            target_modules=targets,
            total_step=max(steps, 10),
            tinit=steps // 10,
            tfinal=steps // 3,
            deltaT=10,
        )
    inject_adapter_in_model(config, encoder)


def prune_ranks(network: Network, step: int) -> None:
    """AdaLoRA's budget at this step, after the gradients; nothing for other methods."""
    allocator = getattr(network, "allocator", None)
    if allocator is not None:
        allocator.update_and_allocate(network.encoder, step)


def trained(network: nn.Module) -> dict[str, Tensor]:
    """The parameters that training changes, by name."""
    return {name: p for name, p in network.named_parameters() if p.requires_grad}


@torch.no_grad()
def take_adapter(
    network: Any, method: Method, plain: Any, kind: torch.dtype = torch.float16
) -> dict[str, Tensor]:
    """What training changed in the encoder, as a manifest's adapter names it.

    plain: the backbone as it was. kind: of the numbers.
    """
    encoder = network.encoder
    if method in {"lora", "adalora"}:
        return {name: v.detach().to(kind).contiguous() for name, v in _low_rank(encoder)}
    if method == "houlsby":
        found = {}
        for path, around in bottlenecks(encoder):
            found[f"{path}.down"] = around.down.weight.detach().to(kind)
            found[f"{path}.down_bias"] = around.down.bias.detach().to(kind)
            found[f"{path}.up"] = around.up.weight.detach().to(kind)
            found[f"{path}.up_bias"] = around.up.bias.detach().to(kind)
        return {name: v.contiguous().clone() for name, v in found.items()}
    before = dict(plain.named_parameters())
    return {
        f"{name}.delta": (p - before[name]).to(kind).contiguous()
        for name, p in encoder.named_parameters()
        if p.requires_grad
    }


def _low_rank(encoder: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """`W.a` and `W.b` of every adapted matrix, the scale in b."""
    for path, module in encoder.named_modules():
        if not hasattr(module, "lora_A") or "default" not in getattr(module, "lora_A", {}):
            continue
        parts: Any = module
        a, b = parts.lora_A["default"], parts.lora_B["default"]
        scale = float(parts.scaling["default"])
        if isinstance(a, nn.Module):
            yield f"{path}.weight.a", parts.lora_A["default"].weight
            yield f"{path}.weight.b", parts.lora_B["default"].weight * scale
        else:  # AdaLoRA: b · diag(e) · a, over the rank that it plans by
            ranked = float(parts.ranknum["default"]) + 1e-5
            yield f"{path}.weight.a", a * parts.lora_E["default"]
            yield f"{path}.weight.b", b * (scale / ranked)
