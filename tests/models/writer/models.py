"""Tiny models that write, made on the spot: a T5, a GPT-2, and a tokenizer that they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORDS = [
    *("write", "a", "title", "for", "this", "red", "blue", "running", "shoe", "hat", "data"),
    *("text", ":", ".", "<", ">", "/", "one", "line"),
]


def save_tokenizer(folder: Path, *, template: str | None = None) -> int:
    """Save a tokenizer of words; how many tokens it has."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    specials = ["<pad>", "<unk>", "<eos>"]
    vocabulary = {word: i for i, word in enumerate([*specials, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    library: Any = transformers
    made = library.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="<eos>"
    )
    made.chat_template = template
    made.save_pretrained(folder)
    return len(vocabulary)


def save_gpt2(folder: Path, positions: int = 64, template: str | None = None) -> str:
    """Save a GPT-2 of one layer."""
    import torch
    import transformers

    size = save_tokenizer(folder, template=template)
    torch.manual_seed(1)
    library: Any = transformers
    config = library.GPT2Config(
        vocab_size=size,
        n_positions=positions,
        n_embd=16,
        n_layer=1,
        n_head=2,
        initializer_range=0.8,
        bos_token_id=2,
        eos_token_id=2,
        pad_token_id=0,
    )
    library.GPT2LMHeadModel(config).eval().save_pretrained(folder)
    return str(folder)


def save_t5(folder: Path) -> str:
    """Save a T5 of one layer."""
    import torch
    import transformers

    size = save_tokenizer(folder)
    torch.manual_seed(1)
    library: Any = transformers
    config = library.T5Config(
        vocab_size=size,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        initializer_factor=5.0,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=2,
    )
    library.T5ForConditionalGeneration(config).eval().save_pretrained(folder)
    return str(folder)
