"""A checkpoint's weights by name, without transformers' own model around them.

Making that model imports some 200 MB of code which nothing here runs, compilers among it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from es_rerank.models.packed.bert import ACTIVATIONS, KINDS
from es_rerank.models.runtime import find_model

FILE = "model.safetensors"


class Weights:
    """A node of the names' tree: `weights.encoder.layer` has what `encoder.layer.0.…` names."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @property
    def base_model(self) -> Any:
        """The encoder in it, or itself."""
        found = [vars(self)[name] for name in ("bert", "roberta") if name in vars(self)]
        return found[0] if found else self

    def get_input_embeddings(self) -> Any:
        """The vocabulary."""
        return self.embeddings.word_embeddings

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the weights have no {name}")

    def __iter__(self) -> Iterator[Any]:
        """Its parts that have a number, in order."""
        numbers = sorted(int(name) for name in vars(self) if name.isdigit())
        return (vars(self)[str(number)] for number in numbers)


def read_weights(name: str, config: Any) -> Weights | None:
    """The weights of a model of BERT's family, float32.

    None where they lie otherwise than in one file on this machine, or are of another family. The
    bundled model's file is mapped, so that words that no text has take no memory; others' may be
    written anew at any time, and are copied.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(find_model(name)) / FILE
    if config.model_type not in KINDS or config.hidden_act not in ACTIVATIONS:
        return None
    if getattr(config, "is_decoder", False) or not path.is_file():
        return None
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError):
        return None  # transformers says what is wrong with it
    mapped = path.parent != Path(name).expanduser()
    weights = Weights(config)
    for key, values in tensors.items():
        *parents, last = key.split(".")
        node = weights
        for part in parents:
            node = vars(node).setdefault(part, Weights(config))
        setattr(node, last, values.float() if mapped else values.float().clone())
    return weights
