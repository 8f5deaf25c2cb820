"""Local models write in batches what they would write alone, within the length they are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from es_rerank.errors import ModelError
from es_rerank.models.writer.local import LocalWriter
from es_rerank.models.writer.prompt import Prompt
from tests.models.writer.models import save_gpt2, save_t5

PROMPTS = [
    Prompt("write a title", "for this", "red running shoe", max_tokens=6),
    Prompt("write a title", "for this", "blue hat", max_tokens=6),
    Prompt("write", "title", "red", max_tokens=3),
]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}text :{% endif %}"
)


@pytest.mark.parametrize("save", [save_gpt2, save_t5])
def test_a_batch_is_as_each_alone(save: Callable[[Path], str], tmp_path: Path) -> None:
    writer = LocalWriter(save(tmp_path), device="cpu")
    together = writer.write(PROMPTS)
    assert together == [writer.write([prompt])[0] for prompt in PROMPTS]
    assert any(together)
    assert all(
        len(text.split()) <= prompt.max_tokens
        for text, prompt in zip(together, PROMPTS, strict=True)
    )
    again = LocalWriter(str(tmp_path), device="cpu")
    assert again.write(PROMPTS) == together
    assert again.cost.tokens > 0 == again.cost.money


def test_what_is_drawn_is_drawn_the_same_again(tmp_path: Path) -> None:
    name = save_gpt2(tmp_path)
    drawn = LocalWriter(name, device="cpu", temperature=2.0).write(PROMPTS)
    assert LocalWriter(name, device="cpu", temperature=2.0).write(PROMPTS[::-1]) == drawn[::-1]
    assert LocalWriter(name, device="cpu", temperature=2.0, seed=9).write(PROMPTS) != drawn


def test_data_that_are_too_long_are_cut_and_the_task_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    writer = LocalWriter(save_gpt2(tmp_path, positions=48), device="cpu")
    long = Prompt("write", "a title", "red shoe " * 500, max_tokens=8)
    writer.write(PROMPTS[:1])
    encode = writer._encode

    def note(prompt: Prompt) -> list[int]:
        ids = encode(prompt)
        seen.append(writer._tokenizer.decode(ids))
        return ids

    monkeypatch.setattr(writer, "_encode", note)
    (text,) = writer.write([long])
    assert len(text.split()) <= 8
    assert seen[0].startswith("write a title")
    assert seen[0].endswith("data > <unk> :")
    assert len(seen[0].split()) <= 40


def test_a_chat_model_is_asked_by_its_template(tmp_path: Path) -> None:
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}"
    for number, template in enumerate((TEMPLATE, strict + TEMPLATE)):
        folder = tmp_path / str(number)
        folder.mkdir()
        writer = LocalWriter(save_gpt2(folder, template=template), device="cpu")
        assert len(writer.write(PROMPTS)) == 3
        rendered: Any = writer._render(PROMPTS[0])
        assert rendered.startswith("user : write a title" if number else "system : write a title")
        assert rendered.endswith("</data> text :")


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="could not be loaded"):
        LocalWriter(str(tmp_path), device="cpu").write(PROMPTS)
