"""Our own rerankers made smaller: their manifest says of which layers, and in which precision.

Their folder has an adapter alone, whose backbone lies in a package and is shared with the embedder.
So it stays as small as it is; what changes is the time that reading takes, and the memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from es_rerank.errors import ConfigError, ModelError
from es_rerank.models.compact.labels import LabelledList
from es_rerank.models.compact.prune import choose_layers
from es_rerank.models.manifest import ADAPTER, HEADS, Manifest, read_manifest, write_manifest


def quantize_reranker(source: Path, folder: Path) -> None:
    """Write a folder of ours that is read in int8. Raises ModelError."""
    manifest = read_manifest(source)
    if manifest.precision != "auto":
        raise ModelError(f"{source} was quantised already: quantise what it was made of")
    copy_changed(source, folder, replace(manifest, precision="int8"))


def prune_reranker(
    source: Path, folder: Path, lists: Sequence[LabelledList], layers: int | None, words: bool
) -> None:
    """Write a folder of ours that is read with so many layers, chosen by the lists.

    words: whether the vocabulary was to be pruned too. Raises ModelError, ConfigError.
    """
    from es_rerank.models.network import load_parts

    if words or layers is None:
        raise ConfigError(
            f"{source} reads by the words of its backbone, which other models share: prune its "
            "--layers, or train a reranker on a backbone with fewer words"
        )
    manifest = read_manifest(source)
    if manifest.layers:
        raise ModelError(f"{source} was pruned already: prune what it was made of")
    encoder, _ = load_parts(source, manifest, "cpu", bare=False)
    kept = choose_layers(encoder.eval(), manifest.backbone, lists, layers)
    copy_changed(source, folder, replace(manifest, layers=tuple(kept)))


def refuse_export(source: Path) -> None:
    """Raises ConfigError: other runtimes have no place for our heads."""
    raise ConfigError(
        f"{source} is one of our rerankers, whose two heads only es-rerank reads: serve it as it "
        "is, or faster with `es-rerank model quantize` and `prune`; cross-encoders can be exported"
    )


def copy_changed(source: Path, folder: Path, manifest: Manifest) -> None:
    """Copy the weights, and write the manifest beside them without the card of before."""
    for name in (ADAPTER, HEADS):
        shutil.copy(source / name, folder / name)
    write_manifest(replace(manifest, card={}), folder)
