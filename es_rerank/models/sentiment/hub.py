"""A text classifier of a hub as a reader of sentiment: its labels, whatever they are called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.errors import ModelError
from es_rerank.models.readers import PaddedReader
from es_rerank.models.runtime import choose_device, load_pretrained
from es_rerank.models.sentiment.text import encoded_part
from es_rerank.models.tokenizer import Tokenizer, load_tokenizer

MAX_TOKENS = 256
PRAISE = re.compile(r"\b(pos(itive)?|good|favou?rable|happy)\b|正|积极|好评", re.I)
BLAME = re.compile(r"\b(neg(ative)?|bad|unfavou?rable|unhappy)\b|负|消极|差评", re.I)
NEITHER = re.compile(r"\b(neu(tral)?|mixed|neither)\b|中", re.I)
STARS = re.compile(r"^\D*([1-5])\s*(?:stars?|星)?\D*$", re.I)
PLAIN = re.compile(r"^label[_ ]?(\d+)$", re.I)


class HubReader:
    """Reads texts by a sequence classifier. values: (labels, 3), how much of each label's
    probability is blame, neither and praise."""

    def __init__(
        self,
        name: str,
        tokenizer: Tokenizer,
        reader: PaddedReader,
        values: NDArray[np.float64],
        identity: str,
    ) -> None:
        self.name = name
        self.identity = identity
        self._tokenizer = tokenizer
        self._reader = reader
        self._values = values

    def read(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities (n, 3)."""
        if not texts:
            return np.zeros((0, 3))
        from scipy.special import softmax

        encoded = self._tokenizer.encode([encoded_part(text) for text in texts])
        logits = self._reader.read(encoded["input_ids"], encoded.get("token_type_ids"))
        found: NDArray[np.float64] = softmax(logits, axis=1) @ self._values
        return found


def load_hub(name: str, device: str = "auto") -> HubReader:
    """Load a sequence classifier by hub id or folder. Raises ModelError."""
    from transformers import AutoModelForSequenceClassification

    where = choose_device(device)
    model = load_pretrained(AutoModelForSequenceClassification, name).eval().float().to(where)
    labels = dict(getattr(model.config, "id2label", None) or {})
    values = read_labels(name, {int(place): str(label) for place, label in labels.items()})
    limit = int(getattr(model.config, "max_position_embeddings", MAX_TOKENS))
    if model.config.model_type in {"roberta", "xlm-roberta", "camembert"}:
        limit -= 2  # their positions begin at 2
    tokenizer = load_tokenizer(name, min(MAX_TOKENS, limit))
    revision: Any = getattr(model.config, "_commit_hash", None) or ""
    identity = f"{name} {revision}".strip()
    return HubReader(name, tokenizer, PaddedReader(model, tokenizer.padding), values, identity)


def read_labels(name: str, labels: Mapping[int, str]) -> NDArray[np.float64]:
    """What each label says of blame, neither, praise, (labels, 3).

    Known are positive, negative, neutral and the like, 1 to 5 stars, and LABEL_0, LABEL_1, … of
    models whose labels have no names: from blame to praise. Raises ModelError for any other.
    """
    count = len(labels)
    values = np.zeros((count, 3))
    for place, label in labels.items():
        said = label.replace("_", " ").replace("-", " ") if not PLAIN.match(label) else label
        if (plain := PLAIN.match(said)) and 1 < count <= 5:
            share = int(plain[1]) / (count - 1)
        elif stars := STARS.match(said):
            share = (int(stars[1]) - 1) / 4
        elif BLAME.search(said):
            share = 0.0
        elif PRAISE.search(said):
            share = 1.0
        elif NEITHER.search(said):
            share = 0.5
        else:
            known = ", ".join(labels.values())
            raise ModelError(
                f"model {name!r} has labels that say neither good nor bad ({known}): name a "
                "sentiment classifier, with labels such as positive and negative or 1 to 5 stars"
            )
        values[place] = _spread_share(share)
    if not (values[:, 0].any() and values[:, 2].any()):
        raise ModelError(
            f"model {name!r} cannot say both good and bad (labels: {', '.join(labels.values())}): "
            "name another sentiment classifier"
        )
    return values


def _spread_share(share: float) -> tuple[float, float, float]:
    """0 is blame, 1/2 neither, 1 praise; the outer quarters count as blame or praise."""
    if share <= 0.25:
        return (1.0, 0.0, 0.0)
    if share >= 0.75:
        return (0.0, 0.0, 1.0)
    if share == 0.5:
        return (0.0, 1.0, 0.0)
    return (0.5, 0.5, 0.0) if share < 0.5 else (0.0, 0.5, 0.5)
