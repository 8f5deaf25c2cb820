"""The mean of several models that began with the same weights: a model soup.

Wortsman et al., Model soups: averaging weights of multiple fine-tuned models improves accuracy
without increasing inference time, ICML 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from es_rerank.errors import ConfigError
from es_rerank.models.embedder import load_embedder
from es_rerank.models.manifest import ADAPTER, HEADS, Manifest, read_manifest
from es_rerank.models.reranker import load_reranker
from es_rerank.training.dataset import Say, build
from es_rerank.training.export import name_catalogues, write_folder
from es_rerank.training.groups import Group
from es_rerank.training.recipe import Recipe
from es_rerank.training.report import report
from es_rerank.training.reranker import Result
from es_rerank.training.reranking import choose_share

Tensors = Mapping[str, Tensor]


def average_models(
    folders: Sequence[Path], catalogues: Sequence[str], out: Path, cache: Path, say: Say
) -> Result:
    """Write the mean of the folders' weights to `out`, measured on the topics they all held out.

    catalogues: what they were trained on; cache: where vectors are kept. Raises ConfigError for
    models that have no mean, and ModelError.
    """
    from safetensors.torch import load_file

    recipe, manifests = check_alike(folders)
    if name_catalogues(catalogues) != list(recipe.catalogues):
        raise ConfigError(
            f"the models were trained on {', '.join(recipe.catalogues)}: name the same catalogues "
            "by --data, in that order"
        )
    adapter = average_adapters([load_file(folder / ADAPTER) for folder in folders])
    each = [load_file(folder / HEADS) for folder in folders]
    heads = {name: average([own[name] for own in each]) for name in each[0]}
    write_folder(adapter, heads, recipe, 0.0, out, {}, {})
    torch.set_num_threads(recipe.schedule.threads)
    embedder = load_embedder(recipe.adapter.backbone, "cpu")
    data = build(catalogues, recipe.labels, recipe.schedule.seed, embedder, cache, say)
    say(f"Measuring the mean of {len(folders)} models on {len(data.held)} windows ...")
    model = load_reranker(out, "cpu", "fp32")
    logits = [model.score_pairs(g.query, [data.texts[i] for i in g.rows]) for g in data.held]
    share, _ = choose_share(data.held, logits)

    def read(
        group: Group, stuffed: Sequence[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        quoting = set(stuffed)
        texts = [
            f"{group.query} {data.texts[row]}" if place in quoting else data.texts[row]
            for place, row in enumerate(group.rows)
        ]
        return model.read_lists([(group.query, texts)])

    figures = report(data, read, share)
    training = {
        "mean_of": [
            {
                "seed": one.training["recipe"]["schedule"]["seed"],
                "steps": one.training["steps"],
                "hashes": dict(one.hashes),
            }
            for one in manifests
        ],
        "steps": sum(int(one.training["steps"]) for one in manifests),
        "groups": len(data.train),
        "held_out": len(data.held),
        "catalogues": list(recipe.catalogues),
    }
    manifest = write_folder(adapter, heads, recipe, share, out, training, figures)
    return Result(out, manifest, figures)


def check_alike(folders: Sequence[Path]) -> tuple[Recipe, list[Manifest]]:
    """The recipe that all of them follow but for the seed, and their manifests.

    Raises ConfigError for those that have no mean, and ModelError.
    """
    manifests = [read_manifest(folder) for folder in folders]
    recipes = [Recipe.model_validate(one.training["recipe"]) for one in manifests]
    first = recipes[0]
    if first.adapter.method == "houlsby":
        raise ConfigError("bottleneck adapters have no mean: train with method = 'lora'")
    for folder, manifest, recipe in zip(folders, manifests, recipes, strict=True):
        seed = recipe.schedule.model_copy(update={"seed": first.schedule.seed})
        same = recipe.model_copy(update={"schedule": seed}).settled() == first.settled()
        if not same or manifest.backbone_hash != manifests[0].backbone_hash:
            raise ConfigError(
                f"{folder} and {folders[0]} have no mean: only models by one recipe, on one "
                "backbone and the same catalogues, have, their seeds being different"
            )
    return first, manifests


def average_adapters(adapters: Sequence[Tensors]) -> dict[str, Tensor]:
    """The mean of what they change: of b a of rank r each, one of rank n r, exactly."""
    found: dict[str, Tensor] = {}
    for name in adapters[0]:
        parts = [adapter[name] for adapter in adapters]
        if name.endswith(".a"):
            found[name] = torch.cat(parts, dim=0).contiguous()
        elif name.endswith(".b"):
            found[name] = (torch.cat([p.float() for p in parts], dim=1) / len(parts)).half()
        else:
            found[name] = average(parts)
    return found


def average(parts: Sequence[Tensor]) -> Tensor:
    """The mean, fp16."""
    return torch.stack([part.float() for part in parts]).mean(dim=0).half().contiguous()
