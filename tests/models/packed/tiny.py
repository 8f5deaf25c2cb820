"""Small models of every family, made from a config on the spot."""

from __future__ import annotations

from typing import Any

VOCABULARY = 90
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "max_position_embeddings": 140,
    "initializer_range": 0.3,  # so that rows differ
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
KINDS = {
    "bert": "BertForSequenceClassification",
    "roberta": "RobertaForSequenceClassification",
    "xlm-roberta": "XLMRobertaForSequenceClassification",
    "camembert": "CamembertForSequenceClassification",
    "modernbert": "ModernBertForSequenceClassification",
}
MORE: dict[str, Any] = {
    "modernbert": {
        "num_hidden_layers": 5,
        "local_attention": 16,
        "global_attn_every_n_layers": 2,
        "norm_bias": True,
        "attention_bias": True,
        "mlp_bias": True,
        "initializer_cutoff_factor": 3.0,
        "sep_token_id": 2,
        "cls_token_id": 0,
    }
}


def make(kind: str, labels: int = 1, **more: Any) -> Any:
    """A classifier with random weights, biases and norms too."""
    import torch
    import transformers

    library: Any = transformers
    config = library.AutoConfig.for_model(
        kind, **{**SIZES, **MORE.get(kind, {}), **more}, num_labels=labels
    )
    torch.manual_seed(5)
    model = library.AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if name.endswith("bias"):
                weights.normal_(0, 0.3)
            elif "norm" in name.lower():
                weights.normal_(1, 0.2)
    return model


def plain_rows(model: Any, ids: list[int], types: list[int] | None) -> Any:
    """transformers' own last rows of one sequence, (tokens, hidden)."""
    import torch

    given = {"input_ids": torch.tensor([ids])}
    if types is not None:
        given["token_type_ids"] = torch.tensor([types])
    with torch.no_grad():
        return model.base_model(**given).last_hidden_state[0]
