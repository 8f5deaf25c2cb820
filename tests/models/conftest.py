"""The bundled embedder, loaded once, and tiny models made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from es_rerank.models.embedder import Embedder, load_embedder

WORDS = ("red", "blue", "black", "running", "shoe", "shoes", "hat", "garden", "gnome", "size", "a")
NUMBERS = tuple(str(i) for i in range(1, 31))  # of the scripted upstream's thirty titles
TinyModel = Callable[[int], Path]


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    """The real MiniLM on the CPU."""
    return load_embedder(device="cpu")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """Save a BERT classifier of two layers with so many labels, and a tokenizer of its own."""
    import torch
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    library: Any = transformers

    @cache
    def make(labels: int) -> Path:
        folder = tmp_path_factory.mktemp(f"labels-{labels}")
        size = save_words(folder, [*WORDS, *NUMBERS])
        torch.manual_seed(labels)
        config = tiny_config(size, initializer_range=0.5, num_labels=labels)  # so scores differ
        library.BertForSequenceClassification(config).eval().save_pretrained(folder)
        return folder

    return make


def save_words(folder: Path, words: Sequence[str], **how: Any) -> int:
    """Save a tokenizer that knows these words, as BERT's is made; how many tokens it has."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: i for i, word in enumerate([*specials, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    library: Any = transformers
    library.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=48,
        **how,
    ).save_pretrained(folder)
    return len(vocabulary)


def tiny_config(vocabulary: int, **more: Any) -> Any:
    """Of a BERT of two layers with so many tokens."""
    import transformers

    library: Any = transformers
    return library.BertConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=48,
        **more,
    )


def classify(folder: Path, query: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """transformers' own logits of one pair after another."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return np.array(
            [
                model(
                    **tokenizer(
                        [query], [text], truncation=True, max_length=48, return_tensors="pt"
                    )
                ).logits[0]
                for text in texts
            ]
        )
