"""A sentiment model's folder.

    manifest.json         what this is, what it needs, what it was trained on
    head.safetensors      LANGUAGE.words, .grams, .bias, .cuts; deep.mean, .words, .share, …
    adapter.safetensors   what training changed in the backbone, fp16, as a reranker's; only with
                          a backbone

With a backbone English is read by it, without by words as Chinese always is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from es_rerank.errors import ModelError
from es_rerank.models.manifest import ADAPTER, MANIFEST, check_files, write_hashed

FORMAT = 1
KIND = "sentiment"
HEAD = "head.safetensors"
OWN = "default"
"""The name of the model that comes with the package."""
DEFAULT = Path(__file__).parent / "default"


@dataclass(frozen=True)
class SentimentManifest:
    """What a folder holds. backbone: "" without one. hashes: file -> sha256."""

    backbone: str = ""
    backbone_hash: str = ""
    max_tokens: int = 160
    hashes: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    kind: str = KIND
    format: int = FORMAT

    @property
    def files(self) -> tuple[str, ...]:
        """The files beside it."""
        return (HEAD, ADAPTER) if self.backbone else (HEAD,)


def find_folder(name: str) -> Path | None:
    """The folder of a model of ours: `default` or a path; None when it is another's model."""
    folder = DEFAULT if name == OWN else Path(name).expanduser()
    if not (folder / HEAD).is_file():
        if name == OWN:
            raise ModelError(
                "the default sentiment model is not in this installation: install es-rerank anew, "
                "or train one with `es-rerank train sentiment`"
            )
        return None
    return folder


def write_manifest(manifest: SentimentManifest, folder: Path) -> None:
    """Write it down, with the hashes of the files that lie there."""
    write_hashed(asdict(manifest), manifest.files, folder)


def read_manifest(folder: Path) -> SentimentManifest:
    """Read it and check the files against it. Raises ModelError, which says how to mend it."""
    path = folder / MANIFEST
    try:
        told = msgspec.json.decode(path.read_bytes())
        if not isinstance(told, dict) or (told.get("kind"), told.get("format")) != (KIND, FORMAT):
            raise ModelError(
                f"{path} is no sentiment model of format {FORMAT}: train it anew, or name another"
            )
        manifest = msgspec.convert(told, SentimentManifest)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ModelError(f"{path} cannot be read ({error}): train the model anew") from error
    check_files(folder, manifest.hashes, manifest.files, "train the model anew")
    return manifest
