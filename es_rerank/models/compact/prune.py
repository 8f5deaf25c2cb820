"""Fewer layers, and fewer words: what a reranker for one catalogue can do without."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from es_rerank.errors import ConfigError, ModelError
from es_rerank.models.compact.folder import copy_beside, find_folder, require_original
from es_rerank.models.compact.labels import LabelledList

READ_PAIRS = 256
"""Pairs by which the layers are judged."""
VOCABULARY_FILES = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")
"""What tokenizer.json says again, by other ids."""


def prune(
    name: str,
    folder: Path,
    lists: Sequence[LabelledList],
    layers: int | None = None,
    texts: Iterable[str] | None = None,
) -> dict[str, tuple[int, int]]:
    """Write a cross-encoder's folder with so many layers, and with the tokens that texts need.

    lists: by which the layers are judged. Returns what there was and is of layers and tokens.
    Raises ModelError, ConfigError.
    """
    from es_rerank.models.cross_encoder import load_classifier

    require_original(name, "prune")
    source = find_folder(name)
    model = load_classifier(name)
    config = model.config
    was = (config.num_hidden_layers, config.vocab_size)
    if layers is not None:
        drop_layers(model, choose_layers(model, name, lists, layers))
    copy_beside(source, folder)
    if texts is not None:
        kept = prune_vocabulary(source, folder, texts)
        take_words(model, kept)
        for file in VOCABULARY_FILES:
            (folder / file).unlink(missing_ok=True)
    model.save_pretrained(folder)
    return {
        "layers": (was[0], config.num_hidden_layers),
        "tokens": (was[1], config.vocab_size),
    }


def choose_layers(model: Any, name: str, lists: Sequence[LabelledList], count: int) -> list[int]:
    """The layers to keep: those that turn the first token's row most.

    What a layer does is 1 - cosine of that row before and after it (block influence, Men et al.,
    ShortGPT, 2024). Raises ConfigError.
    """
    import torch

    from es_rerank.models.tokenizer import LONGEST, load_tokenizer

    whole = model.config.num_hidden_layers
    if not 1 <= count < whole:
        raise ConfigError(f"--layers {count}: the model has {whole}, so keep 1 to {whole - 1}")
    tokenizer = load_tokenizer(name, int(getattr(model.config, "max_position_embeddings", LONGEST)))
    pairs = [(each.query, text) for each in lists for text in each.texts][:READ_PAIRS]
    influence = np.zeros(whole)
    for start in range(0, len(pairs), 16):
        queries, texts = zip(*pairs[start : start + 16], strict=True)
        encoded = tokenizer.encode_pairs(queries, texts)
        given = tokenizer.pad(encoded, range(len(queries)), "cpu")
        with torch.inference_mode():
            rows = [
                each[:, 0].float()
                for each in model(**given, output_hidden_states=True).hidden_states
            ]
        for i in range(whole):
            cosine = torch.nn.functional.cosine_similarity(rows[i], rows[i + 1], dim=1)
            influence[i] += float((1 - cosine).sum())
    return sorted(np.argsort(-influence, kind="stable")[:count].tolist())


def drop_layers(model: Any, kept: Sequence[int]) -> None:
    """Keep these of the model's layers. Raises ModelError where they are not found."""
    import torch

    base = model.base_model
    owner = getattr(base, "encoder", base)
    name = "layer" if hasattr(owner, "layer") else "layers"
    layers = getattr(owner, name, None)
    if layers is None or len(layers) != model.config.num_hidden_layers:
        raise ModelError(f"the layers of {model.config.model_type} models are not known here")
    setattr(owner, name, torch.nn.ModuleList([layers[i] for i in kept]))
    model.config.num_hidden_layers = len(kept)
    kinds = getattr(model.config, "layer_types", None)
    if kinds is not None:  # ModernBERT's layers look around or at all
        model.config.layer_types = [kinds[i] for i in kept]


def prune_vocabulary(source: Path, folder: Path, texts: Iterable[str]) -> list[int]:
    """Write the tokenizer with the tokens that the texts need, and those that spell the rest.

    Kept are all special tokens and all single characters as well, so that a word that no text has
    falls into pieces and not out. Returns the old ids of the kept ones in their new order. Raises
    ModelError for a vocabulary of merges (BPE), which has no part that could go alone.
    """
    from tokenizers import Tokenizer

    path = source / "tokenizer.json"
    if not path.is_file():
        raise ModelError(f"{source} has no tokenizer.json, from which words could be taken")
    whole = json.loads(path.read_text(encoding="utf-8"))
    kind = whole["model"].get("type", "WordPiece")
    if kind not in {"WordPiece", "WordLevel", "Unigram"}:
        raise ModelError(f"a vocabulary of type {kind} cannot be pruned: WordPiece and Unigram can")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    used: set[int] = set()
    for text in texts:
        used.update(tokenizer.encode(text).ids)
    if not used:
        raise ConfigError(
            "there is no text by which words could be kept: name a file that has some"
        )
    entries = list_entries(whole["model"], kind)
    special = {int(each["id"]) for each in whole.get("added_tokens", ())}
    prefix = whole["model"].get("continuing_subword_prefix", "##")
    kept = [
        i
        for i, token in entries
        if i in used
        or i in special
        or len(token.removeprefix(prefix).removeprefix("▁")) <= 1
        or token in {whole["model"].get("unk_token"), "<unk>"}
    ]
    new = {old: i for i, old in enumerate(kept)}
    renumber(whole, kind, new)
    (folder / "tokenizer.json").write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
    return kept


def list_entries(model: dict[str, Any], kind: str) -> list[tuple[int, str]]:
    """Ids and tokens, by id."""
    if kind == "Unigram":
        return [(i, token) for i, (token, _) in enumerate(model["vocab"])]
    return sorted((i, token) for token, i in model["vocab"].items())


def renumber(whole: dict[str, Any], kind: str, new: dict[int, int]) -> None:
    """Give every token in a tokenizer's JSON its new id, wherever one stands."""
    model = whole["model"]
    if kind == "Unigram":
        model["vocab"] = [model["vocab"][old] for old in new]
        if model.get("unk_id") is not None:
            model["unk_id"] = new[model["unk_id"]]
    else:
        model["vocab"] = {t: new[i] for t, i in model["vocab"].items() if i in new}
    for each in whole.get("added_tokens", ()):
        each["id"] = new[each["id"]]
    if whole.get("padding"):
        whole["padding"]["pad_id"] = new[whole["padding"]["pad_id"]]
    around = whole.get("post_processor") or {}
    for step in around.get("processors", [around]):
        for key in ("sep", "cls"):  # BertProcessing and RobertaProcessing
            if key in step:
                step[key] = [step[key][0], new[step[key][1]]]
        for each in step.get("special_tokens", {}).values():  # TemplateProcessing
            each["ids"] = [new[old] for old in each["ids"]]


def take_words(model: Any, kept: Sequence[int]) -> None:
    """Keep these rows of the word embeddings, and give special tokens their new ids."""
    import torch

    old = model.get_input_embeddings()
    rows = old.weight.detach()[list(kept)].clone()
    new = {before: i for i, before in enumerate(kept)}
    padding = None if old.padding_idx is None else new[old.padding_idx]
    words = torch.nn.Embedding(len(rows), rows.shape[1], padding)
    words.weight.data.copy_(rows)
    model.set_input_embeddings(words)
    model.config.vocab_size = len(rows)
    for key in ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"):
        before = getattr(model.config, key, None)
        if before in new:
            setattr(model.config, key, new[before])
