"""A reranker's folder: manifest.json beside its weights, which are small; the backbone lies apart.

    manifest.json         what this is, what it needs, what it was trained on
    adapter.safetensors   what training changed in the backbone, fp16
    heads.safetensors     the relevance and the facet head, fp16

In the adapter a matrix W of the backbone has `W.a` (r, in) and `W.b` (out, r), and becomes W + b a
(LoRA, Hu et al., ICLR 2022), or `W.delta`, and becomes W + delta; `W.down` and the like belong to
bottleneck adapters (Houlsby et al., ICML 2019), which are added after a layer instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from es_rerank.config.model import OWN
from es_rerank.errors import ModelError

FORMAT = 1
MANIFEST = "manifest.json"
ADAPTER = "adapter.safetensors"
HEADS = "heads.safetensors"
DEFAULT = Path(__file__).parent / "default"
"""The folder of the reranker that comes with the package."""


@dataclass(frozen=True)
class Manifest:
    """What a reranker's folder holds.

    backbone: name of the model that the adapter changes; backbone_hash: sha256 of its weights.
    max_tokens: of query and text together. template: the text that it was trained on, by the roles
    of its fields. cosine_share: of the relevance, what the cosine of the plain vectors counts
    beside the logits, both scaled to 0..1 over a window; embedder: whose vectors. facets: length of
    z(query, text), 0 without that head. hashes: file -> sha256. training: how it came about. card:
    its measures. precision: in which it is read where the settings leave that open. layers: of the
    backbone, those that are read, by number; all where none is named.
    """

    backbone: str
    backbone_hash: str
    max_tokens: int
    template: str = "{title}. {description}"
    cosine_share: float = 0.0
    embedder: str = ""
    facets: int = 0
    hashes: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    precision: str = "auto"
    layers: tuple[int, ...] = ()
    format: int = FORMAT


def has_manifest(folder: Path) -> bool:
    """Whether the folder is a reranker of ours."""
    return (folder / MANIFEST).is_file()


def find_folder(name: str) -> Path | None:
    """The folder of one of our rerankers: `default`, or a path; None when it is another model."""
    folder = DEFAULT if name == OWN else Path(name).expanduser()
    if has_manifest(folder):
        return folder
    if name == OWN:
        raise ModelError(
            "the default reranker is not in this installation: install es-rerank anew, train one "
            "with `make model`, or set [model] kind = 'bi-encoder'"
        )
    return None


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write it down, with the hashes of the files that lie there."""
    write_hashed(asdict(manifest), (ADAPTER, HEADS), folder)


def read_manifest(folder: Path) -> Manifest:
    """Read it and check the files against it. Raises ModelError, which says how to mend it."""
    path = folder / MANIFEST
    try:
        told = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError(f"{path} cannot be read ({error}): export the model anew") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        found = told.get("format") if isinstance(told, dict) else None
        raise ModelError(
            f"{path} is of format {found!r}, and this es-rerank reads {FORMAT}: train the model "
            "anew, or install the es-rerank that wrote it"
        )
    try:
        manifest = msgspec.convert(told, Manifest)
    except msgspec.ValidationError as error:
        raise ModelError(f"{path} is no manifest ({error}): export the model anew") from error
    check_files(folder, manifest.hashes, (ADAPTER, HEADS), "export the model anew")
    return manifest


def write_hashed(told: Mapping[str, Any], files: Sequence[str], folder: Path) -> None:
    """Write what is told of a folder, with the hashes of its files."""
    hashes = {name: hash_file(folder / name) for name in files}
    written = msgspec.json.format(msgspec.json.encode({**told, "hashes": hashes}), indent=1)
    (folder / MANIFEST).write_bytes(written + b"\n")


def check_files(folder: Path, hashes: Mapping[str, str], files: Sequence[str], mend: str) -> None:
    """Raise ModelError for a file that is missing or is another; mend: how to get it back."""
    for name in files:
        if not (folder / name).is_file() or hash_file(folder / name) != hashes.get(name):
            raise ModelError(
                f"{folder / name} is missing or is not the file that {MANIFEST} speaks of: copy "
                f"the whole folder again, or {mend}"
            )


def hash_file(path: Path) -> str:
    """sha256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
