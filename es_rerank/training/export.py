"""A trained network as a folder that `serve --model` loads: adapter, heads, manifest, card."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from es_rerank.models.manifest import ADAPTER, HEADS, Manifest, read_manifest, write_manifest
from es_rerank.models.network import HEADS_OF, Network, hash_backbone, load_encoder
from es_rerank.training.adapt import take_adapter
from es_rerank.training.recipe import Recipe

CARD = "README.md"
LIBRARIES = ("es-rerank", "torch", "transformers", "peft")


def export(
    network: Network,
    recipe: Recipe,
    cosine_share: float,
    folder: Path,
    training: Mapping[str, Any],
    card: Mapping[str, Any],
) -> Manifest:
    """Write the folder. training: how it came about; card: its measures. Returns the manifest."""
    wish = recipe.adapter
    heads = {
        name: values.detach().half().contiguous()
        for name, values in network.state_dict().items()
        if name.partition(".")[0] in HEADS_OF
    }
    adapter = take_adapter(network, wish.method, load_encoder(wish.backbone))
    return write_folder(adapter, heads, recipe, cosine_share, folder, training, card)


def write_folder(
    adapter: Mapping[str, Tensor],
    heads: Mapping[str, Tensor],
    recipe: Recipe,
    cosine_share: float,
    folder: Path,
    training: Mapping[str, Any],
    card: Mapping[str, Any],
) -> Manifest:
    """Write weights in fp16, as a manifest names them, with the manifest and the card."""
    from safetensors.torch import save_file

    wish = recipe.adapter
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(adapter), folder / ADAPTER)
    save_file(dict(heads), folder / HEADS)
    for name in (ADAPTER, HEADS):
        (folder / name).chmod(0o644)  # safetensors writes for the owner alone
    manifest = Manifest(
        backbone=wish.backbone,
        backbone_hash=hash_backbone(wish.backbone),
        max_tokens=wish.served_tokens,
        cosine_share=cosine_share,
        embedder=wish.backbone,
        facets=wish.facets,
        training={
            **training,
            "recipe": describe_recipe(recipe),
            "libraries": {name: find_version(name) for name in LIBRARIES},
        },
        card=card,
    )
    write_manifest(manifest, folder)
    (folder / CARD).write_text(write_card(manifest), encoding="utf-8")
    return read_manifest(folder)


def describe_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as manifests have it, without the places where files lie on one machine."""
    told = recipe.model_dump(mode="json")
    told["catalogues"] = name_catalogues(recipe.catalogues)
    told["judged"]["files"] = name_catalogues(recipe.judged.files)
    told["teacher"]["model"] = Path(recipe.teacher.model).name
    return told


def name_catalogues(catalogues: Sequence[str]) -> list[str]:
    """Their folders' names, without the places where they lie on one machine."""
    return [Path(name).name or Path(name).resolve().name for name in catalogues]


def find_version(library: str) -> str:
    """A library's version, "" where it is not installed."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""


def write_card(manifest: Manifest) -> str:
    """The model card (Mitchell et al., FAT* 2019)."""
    recipe = manifest.training["recipe"]
    return f"""# A reranker for es-rerank

Reads a shopper's query and a product's text together and says how well they suit each other
(relevance), and in which way (a {manifest.facets}-number vector, for diversity). Of the relevance
{manifest.cosine_share:.0%} is the plain vectors' cosine, both scaled to 0..1 over a window.

- Backbone: {manifest.backbone}, unchanged; this folder holds what is added to it.
- Training: {recipe["adapter"]["method"]}, {tell_seeds(manifest)}, {tell_labels(recipe["judged"])}
- Language: English. Where a query's words are unknown to it, the engine's order stays.
- Not for: judging people, or texts other than products. It knows what its catalogues' types,
  brands and attributes say, and repeats what they lack.

Measured on held-out weak labels, topics never trained on:
{list_figures(manifest.card)}
"""


def list_figures(card: Mapping[str, Mapping[str, str]]) -> str:
    """A table for each section."""
    return "\n".join(
        f"\n| {section} | |\n|---|---|\n"
        + "\n".join(f"| {name} | {value} |" for name, value in rows.items())
        for section, rows in card.items()
    )


def tell_labels(judged: Mapping[str, Any]) -> str:
    """What it was trained on."""
    if not judged["files"]:
        return (
            "on weak labels made from\n  catalogues. No human judgment was used, neither to train "
            "nor to choose."
        )
    weak = "" if judged["alone"] else " and on weak labels made from\n  catalogues"
    return f"on judgments ({', '.join(judged['files'])}){weak}. Do not measure it by those."


def tell_seeds(manifest: Manifest) -> str:
    """The seed and the steps, or those of the models whose mean it is."""
    training = manifest.training
    if (parts := training.get("mean_of")) is not None:
        seeds = ", ".join(str(part["seed"]) for part in parts)
        return f"the mean of the weights of seeds {seeds}, {training['steps']} steps in all"
    schedule = training["recipe"]["schedule"]
    return f"seed {schedule['seed']}, {training.get('steps', schedule['steps'])} steps"
