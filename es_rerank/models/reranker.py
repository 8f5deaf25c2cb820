"""Our own reranker: one forward gives a logit and a facet vector for each query and text.

What it is and how it is kept is in `manifest`; its network in `network`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.models.manifest import MANIFEST, Manifest, hash_file, read_manifest
from es_rerank.models.packed.encoder import PackedEncoder, can_pack
from es_rerank.models.pair_tokens import PairTokenizer, make_template
from es_rerank.models.precision import Precision, choose_precision
from es_rerank.models.runtime import choose_device, hash_text, plan_batches
from es_rerank.models.tokenizer import Tokenizer, load_tokenizer

KEPT_FACETS = 20_000
"""Facet vectors kept for the kernel: some 300 bytes each."""
TOKEN_BUDGET = 4096


class PackedPairs:
    """Reads pairs without padding. encoder: packed; heads: on its device."""

    def __init__(self, encoder: PackedEncoder, heads: Any) -> None:
        self._encoder = encoder
        self._heads = heads

    def read(self, ids: Sequence[Sequence[int]], types: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        """Logits (n,) and facets (n, e), as tensors."""
        return self._heads.read_heads(*self._encoder.part_rows(ids, types))  # type: ignore[no-any-return]


class PaddedPairs:
    """Reads pairs by the network's own forward."""

    def __init__(self, network: Any, tokenizer: Tokenizer, device: str) -> None:
        self._network = network
        self._tokenizer = tokenizer
        self._device = device

    def read(self, ids: Sequence[Sequence[int]], types: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        """Logits (n,) and facets (n, e), as tensors."""
        import torch

        whole = {
            "input_ids": [list(each) for each in ids],
            "token_type_ids": [list(each) for each in types],
            "attention_mask": [[1] * len(each) for each in ids],
        }
        batches = plan_batches([len(each) for each in ids], TOKEN_BUDGET)
        found = [
            self._network(**self._tokenizer.pad(whole, batch, self._device)) for batch in batches
        ]
        back = torch.tensor([row for batch in batches for row in batch]).argsort().to(self._device)
        logits, facets = (torch.cat(parts)[back] for parts in zip(*found, strict=True))
        return logits, facets


class Reranker:
    """A PairModel with a second head. Scores are logits; the cosine of the plain vectors of query
    and text is meant to be mixed in at `cosine_share`, by whoever has the vectors.

    identity: another one whenever scores may be. Safe to call from several threads.
    """

    def __init__(
        self,
        name: str,
        manifest: Manifest,
        identity: str,
        pairs: PairTokenizer,
        reader: PackedPairs | PaddedPairs,
        device: str,
    ) -> None:
        self.name = name
        self.identity = identity
        self.device = device
        self.manifest = manifest
        self.cosine_share = manifest.cosine_share
        self.most_tokens = pairs.most_tokens
        self._pairs = pairs
        self._reader = reader
        self._facets: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()

    def score_pairs(self, query: str, texts: Sequence[str]) -> NDArray[np.float64]:
        """Score each text for the query. Returns (n,) logits, in the order of `texts`."""
        return self.read_lists([(query, texts)])[0]

    def score_lists(
        self, lists: Sequence[tuple[str, Sequence[str]]]
    ) -> list[NDArray[np.float64] | Exception]:
        """Score several queries' texts in batches across them. Returns (n,) logits per query."""
        if not lists:
            return []
        ends = np.cumsum([len(texts) for _, texts in lists])
        return list(np.split(self.read_lists(lists)[0], ends[:-1]))

    def read_lists(
        self, lists: Sequence[tuple[str, Sequence[str]]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Read each query with each of its texts, one after the other. Returns logits (n,) and
        facets (n, e), which are kept for `find_facets`."""
        import torch

        if not any(texts for _, texts in lists):
            return np.zeros(0), np.zeros((0, self.manifest.facets), np.float32)
        pairs = self._pairs.encode(lists)
        with torch.inference_mode():
            found = self._reader.read(pairs.ids, pairs.types or [])
        every: NDArray[np.float64] = found[0].double().cpu().numpy()
        # Of a text in several passages the best counts: it comes last, and stays.
        upwards = np.argsort(every, kind="stable")
        best = np.zeros(sum(len(texts) for _, texts in lists), np.int64)
        best[np.asarray(pairs.text)[upwards]] = upwards
        logits = every[best]
        facets: NDArray[np.float32] = found[1].float().cpu().numpy()[best]
        keys = [pair_key(query, text) for query, texts in lists for text in texts]
        with self._lock:
            for key, row in zip(keys, facets, strict=True):
                self._facets[key] = row
                self._facets.move_to_end(key)
            while len(self._facets) > KEPT_FACETS:
                self._facets.popitem(last=False)
        return logits, facets

    def find_facets(self, query: str, texts: Sequence[str | None]) -> NDArray[np.float32] | None:
        """The facets of texts that were scored for the query, (n, e), zeros where there is no text.

        None where one is not kept: pages of one list must not be spread in different ways.
        """
        rows = np.zeros((len(texts), self.manifest.facets), np.float32)
        with self._lock:
            for i, text in enumerate(texts):
                if text:
                    row = self._facets.get(pair_key(query, text))
                    if row is None:
                        return None
                    rows[i] = row
        return rows

    def unknown_share(self, text: str) -> float:
        """The share of the text's tokens that the tokenizer does not know, 0 to 1."""
        return self._pairs.unknown_share(text)


def pair_key(query: str, text: str) -> bytes:
    """By what a pair's facets are kept."""
    return hash_text(query) + hash_text(text)


def load_reranker(
    folder: Path,
    device: str = "auto",
    precision: str = "auto",
    max_tokens: int | None = None,
    passages: int = 1,
) -> Reranker:
    """Load a folder of ours: the adapter is merged into the backbone. Raises ModelError.

    precision: of the packed forward on a CPU; elsewhere float32. max_tokens: of query and text
    together, at most what the manifest says. passages: into how many pieces a longer text is cut.
    """
    from es_rerank.models.network import Network, bottlenecks, load_parts

    manifest = read_manifest(folder)
    where = choose_device(device)
    limit = min(manifest.max_tokens, max_tokens or manifest.max_tokens)
    tokenizer = load_tokenizer(manifest.backbone, limit)
    encoder, heads = load_parts(folder, manifest, where)
    wanted = manifest.precision if precision == "auto" else precision
    kind: Precision = choose_precision(wanted, where) if where == "cpu" else "fp32"
    reader: PackedPairs | PaddedPairs
    if can_pack(encoder) and not any(bottlenecks(encoder)):
        if where != "cpu":
            encoder, heads = encoder.to(where), heads.to(where)
        reader = PackedPairs(PackedEncoder(encoder, kind), heads)
    else:
        network = Network(encoder, manifest.facets)
        network.load_state_dict(heads.state_dict(), strict=False)
        reader, kind = PaddedPairs(network.eval().to(where), tokenizer, where), "fp32"
    pairs = PairTokenizer(tokenizer, limit, make_template(tokenizer), passages)
    identity = f"{hash_file(folder / MANIFEST)} {kind} {limit} {passages}"
    return Reranker(folder.name, manifest, identity, pairs, reader, where)
