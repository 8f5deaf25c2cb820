"""By what a model is known, so that no score is taken for another model's."""

from __future__ import annotations

import hashlib
from pathlib import Path

from es_rerank.config import ModelSettings
from es_rerank.models.runtime import find_model
from es_rerank.ranking.score import PairModel

FILES = ("*.json", "*.txt", "*.model", "*.safetensors", "*.bin", "*.onnx", "*.xml")
WITHOUT_INFLUENCE = {
    *("api_key", "api_key_file", "embedder", "threads"),
    *("ca_certs", "batch_size", "parallel", "fallback"),
}
PART = 1 << 20


def identify(model: PairModel, settings: ModelSettings) -> str:
    """A text that is another one whenever scores may be.

    What the model says of itself, else a hash of its files and of the settings that shape scores.
    A server elsewhere is known by its address and its model's name alone.
    """
    own = getattr(model, "identity", None)
    if isinstance(own, str) and own:
        return own
    shaping = settings.model_dump_json(exclude=WITHOUT_INFLUENCE)
    files = hash_files(find_model(settings.name)) if settings.kind == "cross-encoder" else ""
    return f"{type(model).__name__} {shaping} {files}"


def hash_files(name: str) -> str:
    """A hash of a model's files by name and content; for a hub id, of those that were fetched."""
    folder = Path(name)
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(name, "config.json")
        if not isinstance(found, str):
            return name
        folder = Path(found).parent
    hashed = hashlib.blake2b(digest_size=16)
    for file in sorted({file for pattern in FILES for file in folder.rglob(pattern)}):
        hashed.update(str(file.relative_to(folder)).encode())
        with file.open("rb") as content:
            while part := content.read(PART):
                hashed.update(part)
    return hashed.hexdigest()
