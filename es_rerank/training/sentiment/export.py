"""A trained sentiment model as a folder: head, adapter, manifest, card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.models.manifest import ADAPTER
from es_rerank.models.sentiment.head import WordHead
from es_rerank.models.sentiment.lexicon import Language
from es_rerank.models.sentiment.manifest import (
    HEAD,
    SentimentManifest,
    read_manifest,
    write_manifest,
)
from es_rerank.training.export import find_version, name_catalogues
from es_rerank.training.sentiment.recipe import SentimentTraining

CARD = "README.md"
LIBRARIES = ("es-rerank", "torch", "transformers", "peft", "scipy")
Parts = dict[str, NDArray[Any]]


def pack_heads(heads: Mapping[Language, WordHead]) -> Parts:
    """The word heads' numbers, by name, in fp16 and fp32."""
    parts: Parts = {}
    for language, head in heads.items():
        parts[f"{language}.words"] = head.words.astype(np.float32)
        parts[f"{language}.grams"] = head.grams.astype(np.float16)
        parts[f"{language}.bias"] = np.array([head.bias], np.float32)
        parts[f"{language}.cuts"] = np.array([head.low, head.high], np.float32)
    return parts


def pack_deep(network: Any, share: float, scale: float, cut: float) -> Parts:
    """The deep head's numbers. share: of the word head's score beside its own; scale: a factor on
    both; cut: half the cuts' distance."""
    return {
        "deep.mean": network.mean.weight.detach().numpy()[0].astype(np.float32) * scale,
        "deep.words": network.words.weight.detach().numpy()[0].astype(np.float32) * scale,
        "deep.share": np.array([share * scale], np.float32),
        "deep.bias": network.mean.bias.detach().numpy().astype(np.float32) * scale,
        "deep.cuts": np.array([-cut, cut], np.float32),
    }


def write_folder(
    folder: Path,
    parts: Parts,
    adapter: Mapping[str, Any] | None,
    recipe: SentimentTraining,
    training: Mapping[str, Any],
    card: Mapping[str, Any],
) -> SentimentManifest:
    """Write the folder. adapter: the backbone's, as tensors, None without. Returns the manifest."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(part) for name, part in parts.items()}, folder / HEAD)
    (folder / HEAD).chmod(0o644)  # safetensors writes for the owner alone
    backbone_hash = ""
    if adapter is None:
        (folder / ADAPTER).unlink(missing_ok=True)
    else:
        from safetensors.torch import save_file as save_tensors

        from es_rerank.models.network import hash_backbone

        save_tensors(dict(adapter), folder / ADAPTER)
        (folder / ADAPTER).chmod(0o644)
        backbone_hash = hash_backbone(recipe.deep.backbone)
    told = recipe.model_dump(mode="json")
    told["reviews"]["files"] = name_catalogues(recipe.reviews.files)
    manifest = SentimentManifest(
        backbone="" if adapter is None else recipe.deep.backbone,
        backbone_hash=backbone_hash,
        max_tokens=recipe.deep.served_tokens,
        training={
            **training,
            "recipe": told,
            "libraries": {name: find_version(name) for name in LIBRARIES},
        },
        card=card,
    )
    write_manifest(manifest, folder)
    (folder / CARD).write_text(write_card(manifest), encoding="utf-8")
    return read_manifest(folder)


def write_card(manifest: SentimentManifest) -> str:
    """The model card (Mitchell et al., FAT* 2019)."""
    reviews = manifest.training["recipe"]["reviews"]
    backbone = manifest.backbone or "none: English too is read by words"
    shipped = "reviews written for it and the sentences of the sample shop"
    learnt = [shipped] if reviews["shipped"] else []
    if reviews["files"]:
        learnt.append(f"{', '.join(reviews['files'])}, by their stars")
    figures = "\n".join(
        f"| {name} | {own['count']} | {own['binary']} | {own['three']} | {own['lost']} |"
        for name, own in manifest.card.items()
    )
    return f"""# Sentiment of product reviews, for es-rerank

Reads a review in English or Chinese and says how likely it is blame, neither, or praise.

- Backbone: {backbone}. This folder holds what is added to it, and the weights of words.
- Training: {" and ".join(learnt)}; {manifest.training["learnt"]} texts.
- Not for: judging people, or texts other than reviews. Irony and opinions without any word of
  opinion are often missed. Other languages are read as neither, or wrongly.

| held out of training | texts | macro-F1, praise and blame | with neither | read as neither |
|---|--:|--:|--:|--:|
{figures}
"""
