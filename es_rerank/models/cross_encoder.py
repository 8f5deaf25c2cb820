"""Cross-encoders: query and text read together, one score out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank import telemetry
from es_rerank.errors import ModelError
from es_rerank.models.compact.folder import find_folder, read_backend
from es_rerank.models.compact.quantize import load_quantized
from es_rerank.models.compact.sessions import open_session
from es_rerank.models.decoder import load_decoder
from es_rerank.models.packed.bert import ROBERTA
from es_rerank.models.packed.cuda import CudaEncoder
from es_rerank.models.packed.encoder import PackedEncoder, can_pack
from es_rerank.models.packed.weights import Weights, read_weights
from es_rerank.models.pair_tokens import (
    PairTemplate,
    PairTokenizer,
    TokenCache,
    find_template,
)
from es_rerank.models.precision import Precision, choose_precision
from es_rerank.models.readers import (
    PackedReader,
    PaddedReader,
    Reader,
    YesNoReader,
    has_head,
    read_head,
)
from es_rerank.models.runtime import choose_device, load_pretrained, read_config, to_device
from es_rerank.models.tokenizer import LONGEST, Tokenizer, load_tokenizer

log = telemetry.get_logger()


class CrossEncoder:
    """A sequence classifier used as a reranker (Nogueira and Cho, 2019), or a decoder that judges.

    With one label its logit is the score; with two, the difference of the second to the first. A
    text in several passages has the score of its best.
    """

    def __init__(
        self, name: str, tokenizer: Tokenizer, pairs: PairTokenizer, reader: Reader, device: str
    ) -> None:
        self.name = name
        self.device = device
        self.max_tokens = tokenizer.max_tokens
        self.most_tokens = pairs.most_tokens
        self._tokenizer = tokenizer
        self._pairs = pairs
        self._reader = reader

    @property
    def tokens(self) -> TokenCache:
        """The texts' tokens that are kept, with its counts."""
        return self._pairs.cache

    def score_pairs(self, query: str, texts: Sequence[str]) -> NDArray[np.float64]:
        """Score each text for the query. Returns (n,) logits, in the order of `texts`."""
        return self._score([(query, texts)])

    def score_lists(
        self, lists: Sequence[tuple[str, Sequence[str]]]
    ) -> list[NDArray[np.float64] | Exception]:
        """Score several queries' texts in batches across them. Returns (n,) logits per query."""
        if not lists:
            return []
        ends = np.cumsum([len(texts) for _, texts in lists])
        return list(np.split(self._score(lists), ends[:-1]))

    def _score(self, lists: Sequence[tuple[str, Sequence[str]]]) -> NDArray[np.float64]:
        """The score of each query with each of its texts, one after the other."""
        scores = np.full(sum(len(texts) for _, texts in lists), -np.inf)
        if not len(scores):
            return scores
        pairs = self._pairs.encode(lists)
        logits = self._reader.read(pairs.ids, pairs.types)
        found = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
        np.maximum.at(scores, pairs.text, found)
        return scores

    def count_tokens(self, query: str, texts: Sequence[str]) -> int:
        """How many tokens are read to score the texts for the query."""
        return sum(len(ids) for ids in self._pairs.encode([(query, texts)]).ids)

    def unknown_share(self, text: str) -> float:
        """The share of the text's tokens that the tokenizer does not know, 0 to 1."""
        return self._pairs.unknown_share(text)


def load_cross_encoder(
    name: str,
    device: str = "auto",
    precision: Precision | str = "auto",
    max_tokens: int | None = None,
    passages: int = 1,
) -> CrossEncoder:
    """Load a reranker by hub id or folder.

    max_tokens: of query and text together, at most the model's own limit. passages: into how many
    pieces a longer text is cut at most. Raises ModelError when it cannot be loaded, or is no
    reranker (more than two labels, or weights without a scoring head, which would be left at
    random).
    """
    where = choose_device(device)
    made = read_backend(name)
    config = read_config(name)
    limit = int(getattr(config, "max_position_embeddings", LONGEST))
    if config.model_type in ROBERTA:
        limit -= 2  # its positions are counted from behind the padding token's
    tokenizer = load_tokenizer(name, min(limit, max_tokens or LONGEST))
    template: PairTemplate | None
    if any(each.endswith("ForCausalLM") for each in config.architectures or ()):
        template, model, words = load_decoder(name, tokenizer)

        def make(device: str) -> Reader:
            kind = choose_precision(precision, device)
            return YesNoReader(to_device(model, device, kind), tokenizer.padding, *words)
    elif made is not None and made.kind != "int8":
        template, where = find_template(tokenizer), "cpu"
        session = open_session(find_folder(name), made)

        def make(device: str) -> Reader:
            return PaddedReader(session, tokenizer.padding)
    else:
        template = find_template(tokenizer)
        if made is not None:
            model = load_quantized(name, made, config)
        else:
            model = read_classifier(name, config, where) or load_classifier(name)

        def make(device: str) -> Reader:
            return make_reader(model, tokenizer, device, choose_precision(precision, device))

    reader, where = place(make, where)
    pairs = PairTokenizer(tokenizer, tokenizer.max_tokens, template, passages)
    return CrossEncoder(name, tokenizer, pairs, reader, where)


def read_classifier(name: str, config: Any, device: str) -> Weights | None:
    """A classifier's bare weights, where the CPU and the packed forward need no more than these."""
    if device != "cpu" or config.num_labels > 2:
        return None
    weights = read_weights(name, config)
    return weights if weights is not None and has_head(weights) else None


def load_classifier(name: str) -> Any:
    """A sequence classifier with one label or two. Raises ModelError."""
    from transformers import AutoModelForSequenceClassification

    model, loaded = load_pretrained(
        AutoModelForSequenceClassification, name, output_loading_info=True
    )
    missing = ", ".join(sorted(loaded["missing_keys"]))
    if missing:
        raise ModelError(
            f"model {name!r} is no reranker: its files lack {missing}; name a cross-encoder, or "
            "set [model] kind = 'bi-encoder' for an embedder"
        )
    if model.config.num_labels > 2:
        raise ModelError(
            f"model {name!r} has {model.config.num_labels} labels; a reranker has one (or two): "
            "name a cross-encoder made for ranking"
        )
    return model.eval()


def make_reader(model: Any, tokenizer: Tokenizer, device: str, precision: Precision) -> Reader:
    """Packed where the model's layers are known, else by transformers' own forward."""
    head = read_head(model)
    if head is None or not can_pack(model):
        return PaddedReader(to_device(model, device, precision), tokenizer.padding)
    if device != "cpu":
        model = model.to(device)
    if device.startswith("cuda") and precision != "fp32":  # its attention has no fp32
        encoder = CudaEncoder(model, precision, tokenizer.max_tokens)
        encoder.warm_up()
        return PackedReader(encoder, head)
    return PackedReader(PackedEncoder(model, precision), head)


def place(make: Callable[[str], Reader], device: str) -> tuple[Reader, str]:
    """Make a reader on the device, or on the CPU where a card is full or cannot be used."""
    if device == "cpu":
        return make(device), device
    try:
        reader = make(device)
        reader.read([[0] * 8], None)
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        reason = str(error).splitlines()[0]
        log.warning("the card cannot be used, the CPU is", device=device, reason=reason)
        return make("cpu"), "cpu"
    return reader, device
