"""Models of one's own that write: encoder-decoders and causal models, through `generate`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from es_rerank.models.runtime import choose_device, load_pretrained, plan_batches, read_config
from es_rerank.models.writer.prompt import Cost, Prompt

TOKEN_BUDGET = 4096  # padded tokens in a batch, what is written among them
LONGEST = 4096  # tokens of a prompt at most, whatever the model could take
TRIES = 8
LIMITS = ("max_position_embeddings", "n_positions", "max_sequence_length", "n_ctx")


class LocalWriter:
    """A Hugging Face model that writes. Nothing is drawn by lot unless temperature is above 0.

    temperature above 0 draws, with the same seed for each prompt: the same prompt gives the same
    text. Loaded by its first use; one call at a time.
    """

    sees = False

    def __init__(
        self,
        name: str,
        *,
        device: str = "auto",
        max_tokens: int | None = None,
        beams: int = 1,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.name = name
        self.cost = Cost()
        self._device = device
        self._max_tokens = max_tokens
        self._beams = beams
        self._temperature = temperature
        self._seed = seed
        self._lock = threading.Lock()
        self._model: Any = None
        self._tokenizer: Any = None
        self._whole = False  # encoder and decoder: what is written needs no room in the prompt

    def write(self, prompts: Sequence[Prompt]) -> list[str]:
        """Write a text for each prompt, in order. Raises ModelError when it cannot be loaded."""
        with self._lock:
            if self._model is None:
                self._load()
            encoded = [self._encode(prompt) for prompt in prompts]
            written = [""] * len(prompts)
            lengths = [
                len(ids) + prompt.max_tokens for ids, prompt in zip(encoded, prompts, strict=True)
            ]
            budget = 0 if self._temperature > 0 else TOKEN_BUDGET  # each drawn by itself
            for rows in plan_batches(lengths, budget):
                texts = self._generate([encoded[row] for row in rows], [prompts[r] for r in rows])
                for row, text in zip(rows, texts, strict=True):
                    written[row] = text
            return written

    def _load(self) -> None:
        import transformers

        library: Any = transformers
        config = read_config(self.name)
        self._whole = bool(getattr(config, "is_encoder_decoder", False))
        kind = library.AutoModelForSeq2SeqLM if self._whole else library.AutoModelForCausalLM
        tokenizer = load_pretrained(library.AutoTokenizer, self.name)
        tokenizer.padding_side = "right" if self._whole else "left"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        self._tokenizer = tokenizer
        self._limit = min(
            [LONGEST, *(v for k in LIMITS if isinstance(v := getattr(config, k, None), int))]
        )
        model = load_pretrained(kind, self.name).eval()
        self._model = model.to(choose_device(self._device))

    def _encode(self, prompt: Prompt) -> list[int]:
        """The prompt's tokens; where they are too many, its data are cut, never its task."""
        room = self._limit - (0 if self._whole else self._new_tokens(prompt))
        ids: list[int] = []
        for _ in range(TRIES):
            ids = self._tokenizer(self._render(prompt), add_special_tokens=True)["input_ids"]
            if len(ids) <= room or not prompt.data:
                break
            prompt = prompt.cut(int(len(prompt.data) * 0.9 * max(room, 0) / len(ids)))
        return ids[-max(room, 1) :]

    def _render(self, prompt: Prompt) -> str:
        if getattr(self._tokenizer, "chat_template", None) is None:
            return f"{prompt.system}\n\n{prompt.user}" + ("" if self._whole else "\n\nText: ")
        turns = [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": prompt.user},
        ]
        try:
            return str(self._apply(turns))
        except Exception:  # a template of its own that knows no system role raises what it likes
            return str(
                self._apply([{"role": "user", "content": f"{prompt.system}\n\n{prompt.user}"}])
            )

    def _apply(self, turns: Sequence[dict[str, str]]) -> Any:
        return self._tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True
        )

    def _new_tokens(self, prompt: Prompt) -> int:
        most = prompt.max_tokens if self._max_tokens is None else self._max_tokens
        return min(most, self._limit // 2)

    def _generate(self, encoded: Sequence[list[int]], prompts: Sequence[Prompt]) -> list[str]:
        import torch

        padded = self._tokenizer.pad(
            {"input_ids": list(encoded)}, padding=True, return_tensors="pt"
        ).to(self._model.device)
        drawn = self._temperature > 0
        if drawn:
            torch.manual_seed(self._seed)
        how: dict[str, Any] = {"temperature": self._temperature} if drawn else {}
        new = max(map(self._new_tokens, prompts))
        with torch.inference_mode():
            out = self._model.generate(
                input_ids=padded["input_ids"],
                attention_mask=padded["attention_mask"],
                max_new_tokens=new,
                do_sample=drawn,
                num_beams=self._beams,
                pad_token_id=self._tokenizer.pad_token_id,
                **how,
            )
        if not self._whole:
            out = out[:, padded["input_ids"].shape[1] :]
        # Each is held to its own length, whatever company it was in.
        rows = [
            row[: self._new_tokens(prompt) + self._whole]
            for row, prompt in zip(out, prompts, strict=True)
        ]
        self.cost += Cost(sum(map(len, encoded)) + sum(len(row) for row in rows))
        return [str(text).strip() for text in self._decode(rows)]

    def _decode(self, rows: Sequence[Any]) -> list[str]:
        found: list[str] = self._tokenizer.batch_decode(rows, skip_special_tokens=True)
        return found
