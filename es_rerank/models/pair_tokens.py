"""Queries and texts to token sequences: the texts' tokens kept, long texts in several passages."""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from es_rerank import telemetry
from es_rerank.models.runtime import hash_text
from es_rerank.models.tokenizer import Tokenizer

CACHE_BYTES = 16_000_000
OVERHEAD_BYTES = 200
"""What an entry takes beside its tokens: key, array, place in the order."""
PROBES = (("red shoe", "blue hat"), ("a", "size 44, black"), ("shoe", ""), ("", "shoe shoe"))


@dataclass(frozen=True)
class PairTemplate:
    """The tokens around a query and a text.

    types: the token types of the five parts, None where the model has none. spaced: whether query
    and text follow a space, which belongs to their first word.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[int, int, int, int, int] | None = None
    spaced: bool = False

    @property
    def tokens(self) -> int:
        """How many there are."""
        return len(self.before) + len(self.between) + len(self.after)

    def join(self, query: Sequence[int], text: Sequence[int]) -> list[int]:
        """The pair's token ids."""
        return [*self.before, *query, *self.between, *text, *self.after]

    def join_types(self, query: int, text: int) -> list[int] | None:
        """The pair's token types, for so many tokens of query and text."""
        if self.types is None:
            return None
        counts = (len(self.before), query, len(self.between), text, len(self.after))
        return [kind for kind, n in zip(self.types, counts, strict=True) for _ in range(n)]


def find_template(tokenizer: Tokenizer) -> PairTemplate | None:
    """How the tokenizer puts pairs together, found by trying; None where it follows no template."""
    template: PairTemplate | None = None
    for query, text in PROBES:
        whole = tokenizer.encode_pairs([query], [text])
        ids, types = whole["input_ids"][0], whole.get("token_type_ids", [None])[0]
        first, second = tokenizer.encode_plain([query, text])
        if template is None:
            template = split_pair(ids, types, first, second)
        if template is None or template.join(first, second) != ids:
            return None
        if template.join_types(len(first), len(second)) != types:
            return None
    return template


def make_template(tokenizer: Tokenizer) -> PairTemplate:
    """BERT's way, [CLS] query [SEP] text [SEP] with the text's types 1, by any tokenizer's ends.

    Our own rerankers are trained on pairs of this form and tell by the types which part is which;
    tokenizers of several languages often give no types and part a pair in another way.
    """
    ids = tokenizer.encode([""])["input_ids"][0]
    first, last = ids[0], ids[-1]
    return PairTemplate((first,), (last,), (last,), (0, 0, 0, 1, 1))


def split_pair(
    ids: list[int], types: list[int] | None, query: list[int], text: list[int]
) -> PairTemplate | None:
    """What stands around a query and a text, one token or more each, in a pair."""
    starts = [i for i in range(len(ids)) if ids[i : i + len(query)] == query]
    if not starts:
        return None
    end = starts[0] + len(query)
    seconds = [i for i in range(end, len(ids)) if ids[i : i + len(text)] == text]
    if not seconds:
        return None
    parts = ids[: starts[0]], ids[end : seconds[0]], ids[seconds[0] + len(text) :]
    before, between, after = map(tuple, parts)
    if types is None:
        return PairTemplate(before, between, after)
    places = (0, starts[0], end, seconds[0], len(ids) - 1)
    a, b, c, d, e = (types[place] for place in places)
    return PairTemplate(before, between, after, (a, b, c, d, e))


class TokenCache:
    """Texts' tokens by content, those not used for longest out first. Thread-safe.

    hits, misses: texts found and not found so far. bytes: what it takes now.
    """

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self.hits = 0
        self.misses = 0
        self.bytes = 0
        self._max_bytes = max_bytes
        self._kept: OrderedDict[bytes, array[int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Forget all texts."""
        with self._lock:
            self._kept.clear()
            self.bytes = 0

    def tokenise(self, tokenizer: Tokenizer, texts: Sequence[str], most: int) -> list[array[int]]:
        """The texts' token ids without special ones, cut at `most`."""
        keys = [hash_text(text) for text in texts]
        with self._lock:
            known = {key: self._kept[key] for key in keys if key in self._kept}
            hits = sum(key in known for key in keys)
            self.hits += hits
            self.misses += len(keys) - hits
        telemetry.count_lookups("token", hits, len(keys) - hits)
        fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if fresh:
            found = tokenizer.encode_plain(list(fresh.values()))
            known.update(
                (key, array("i", ids[:most])) for key, ids in zip(fresh, found, strict=True)
            )
        with self._lock:
            for key, ids in known.items():
                if key not in self._kept:
                    self._kept[key] = ids
                    self.bytes += size(ids)
                self._kept.move_to_end(key)
            while self.bytes > self._max_bytes:
                self.bytes -= size(self._kept.popitem(last=False)[1])
            telemetry.CACHE_BYTES.labels("token").set(self.bytes)
        return [known[key] for key in keys]


def size(ids: array[int]) -> int:
    """Bytes that a text's tokens take in the cache."""
    return len(ids) * ids.itemsize + OVERHEAD_BYTES


@dataclass(frozen=True)
class PairTokens:
    """Token sequences of pairs. text: for each the position of its text; several are passages."""

    ids: list[list[int]]
    types: list[list[int]] | None
    text: list[int]


class PairTokenizer:
    """Makes token sequences of queries and texts, each cut at `max_tokens` as the tokenizer would.

    passages: into how many pieces a text is cut at most that does not fit; they overlap where they
    would reach beyond its end. 1 leaves its beginning alone. most_tokens: what is read of a pair.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_tokens: int,
        template: PairTemplate | None,
        passages: int = 1,
        cache: TokenCache | None = None,
    ) -> None:
        self.cache = cache or TokenCache()
        self.most_tokens = max_tokens * passages
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._template = template
        self._passages = passages

    def encode(self, lists: Sequence[tuple[str, Sequence[str]]]) -> PairTokens:
        """The sequences of each query with each of its texts, in that order."""
        if self._template is None:
            return self._encode_whole(lists)
        template, ids, places = self._template, [], []
        types: list[list[int]] | None = None if template.types is None else []
        space = " " if template.spaced else ""
        texts = [space + text for _, own in lists for text in own]
        kept = iter(self.cache.tokenise(self._tokenizer, texts, self._max_tokens * self._passages))
        queries = self._tokenizer.encode_plain([space + query for query, _ in lists])
        at = 0
        for (_, own), query in zip(lists, queries, strict=True):
            for _ in own:
                tokens = next(kept)
                first, second = cut_longer(
                    len(query), len(tokens), self._max_tokens - template.tokens
                )
                for begin in cut_passages(len(tokens), second, self._passages):
                    piece = tokens[begin : begin + second]
                    ids.append(template.join(query[:first], piece))
                    places.append(at)
                    if types is not None:
                        types.append(template.join_types(first, len(piece)) or [])
                at += 1
        return PairTokens(ids, types, places)

    def unknown_share(self, text: str) -> float:
        """The share of the text's tokens that are unknown, 0 to 1."""
        (ids,) = self.cache.tokenise(self._tokenizer, [text], self._max_tokens * self._passages)
        unknown = self._tokenizer.unknown
        return ids.count(unknown) / len(ids) if ids and unknown is not None else 0.0

    def _encode_whole(self, lists: Sequence[tuple[str, Sequence[str]]]) -> PairTokens:
        """By the tokenizer alone, where no template is known."""
        queries = [query for query, own in lists for _ in own]
        texts = [text for _, own in lists for text in own]
        encoded = self._tokenizer.encode_pairs(queries, texts) if texts else {"input_ids": []}
        ids = encoded["input_ids"]
        return PairTokens(ids, encoded.get("token_type_ids"), list(range(len(ids))))


def cut_longer(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of each stay in `room`: the longer is cut first, as tokenizers do it."""
    room = max(room, 0)
    if first + second <= room:
        return first, second
    short, long = sorted((first, second))
    long = short if short > room else max(short, room - short)
    if short + long > room:
        short, long = room // 2, room // 2 + room % 2
    return (long, short) if first > second else (short, long)


def cut_passages(tokens: int, room: int, passages: int) -> list[int]:
    """Where passages of `room` tokens begin: evenly over the text, or as far as so many reach."""
    if tokens <= room or passages == 1 or room < 1:
        return [0]
    count = min(passages, -(-tokens // room))
    last = min(tokens, count * room) - room
    return [i * last // (count - 1) for i in range(count)]
