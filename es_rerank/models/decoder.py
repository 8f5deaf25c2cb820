"""Decoders that judge: is this text what the query looks for, yes or no.

The prompt is Qwen3-Reranker's (Zhang et al., 2025), token for token.
"""

from __future__ import annotations

from typing import Any

from es_rerank.errors import ModelError
from es_rerank.models.pair_tokens import PairTemplate
from es_rerank.models.runtime import load_pretrained
from es_rerank.models.tokenizer import Tokenizer

INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
BEFORE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    f"<|im_start|>user\n<Instruct>: {INSTRUCTION}\n<Query>:"
)
BETWEEN = "\n<Document>:"
AFTER = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def load_decoder(name: str, tokenizer: Tokenizer) -> tuple[PairTemplate, Any, tuple[int, int]]:
    """A causal language model as a reranker: template, model, the tokens of yes and no.

    Raises ModelError.
    """
    from transformers import AutoModelForCausalLM

    before, between, after, yes, no = tokenizer.encode_plain([BEFORE, BETWEEN, AFTER, "yes", "no"])
    if len(yes) != 1 or len(no) != 1 or yes == no:
        raise ModelError(
            f"model {name!r} is a decoder whose tokenizer has no token for 'yes' and 'no': name a "
            "reranker such as Qwen/Qwen3-Reranker-0.6B"
        )
    template = PairTemplate(tuple(before), tuple(between), tuple(after), spaced=True)
    if template.tokens >= tokenizer.max_tokens:
        raise ModelError(
            f"[model] max_tokens = {tokenizer.max_tokens} leaves no room beside the "
            f"{template.tokens} tokens of the question to {name!r}: raise it"
        )
    model = load_pretrained(AutoModelForCausalLM, name).eval()
    return template, model, (yes[0], no[0])
