"""A made model's folder: the files beside its weights, and what loads them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from es_rerank.errors import ConfigError, ModelError
from es_rerank.models.runtime import find_model

MANIFEST = "es_rerank_backend.json"
Kind = Literal["int8", "onnx", "openvino"]
BESIDE = ("*.json", "*.txt", "*.model", "*.jinja")
"""What a tokenizer and a config are made of."""


@dataclass(frozen=True)
class Backend:
    """What loads the weights in `file`. made_of: the original's name."""

    kind: Kind
    file: str
    made_of: str


def read_backend(name: str) -> Backend | None:
    """What a folder says of its weights; None where they are transformers' own.

    Raises ModelError when it says something that is not known here.
    """
    path = Path(find_model(name)) / MANIFEST
    if not path.is_file():
        return None
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        backend = Backend(said["kind"], said["file"], said["made_of"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be read ({error}): make the model anew") from None
    if backend.kind not in get_args(Kind) or Path(backend.file).name != backend.file:
        raise ModelError(f"{path}: {backend.kind!r} is not known: update es-rerank")
    return backend


def require_original(name: str, verb: str) -> None:
    """Raises ModelError for a model that was made of another one."""
    if read_backend(name) is not None:
        raise ModelError(f"{name!r} was made of another model already: {verb} that one")


def write_backend(folder: Path, backend: Backend) -> None:
    """Say in the folder what loads its weights."""
    text = json.dumps(asdict(backend), indent=2) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def find_folder(name: str) -> Path:
    """The folder of a model's files, fetched by its hub id where it is none. Raises ModelError."""
    found = Path(find_model(name))
    if found.is_dir():
        return found
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name))
    except Exception as error:  # the hub raises classes of its own
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"model {name!r} cannot be found ({reason}): give the folder of a downloaded model"
        ) from error


def copy_beside(source: Path, target: Path) -> None:
    """Copy all but the weights."""
    for pattern in BESIDE:
        for file in source.glob(pattern):
            if file.name != MANIFEST and not file.name.endswith(".index.json"):
                shutil.copy(file, target / file.name)


def weigh(folder: Path) -> int:
    """Bytes of all files."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@contextmanager
def making(out: Path) -> Iterator[Path]:
    """A folder that takes its place once it is whole, and leaves nothing when it is not.

    Raises ConfigError where something is there already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is there already: name a folder that is not, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as place:
        folder = Path(place) / "model"
        folder.mkdir()
        yield folder
        if out.exists():
            out.rmdir()
        folder.rename(out)
