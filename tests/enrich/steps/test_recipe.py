"""Recipes: a table turns a step on; what is wrong is named, with the nearest right key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from es_rerank.cluster.document import Document
from es_rerank.enrich.steps.build import build_steps
from es_rerank.enrich.steps.recipe import Recipe, default_recipe, read_recipe, with_flags
from es_rerank.errors import ConfigError


def _recipe(folder: Path, text: str) -> Recipe:
    file = folder / "recipe.toml"
    file.write_text(text)
    return read_recipe(file)


def test_each_step_alone_or_together(tmp_path: Path) -> None:
    assert _recipe(tmp_path, "").is_copy
    alone = _recipe(tmp_path, '[vector]\nmodel = "m"\n')
    assert (alone.vector is not None, alone.summary) == (True, None)
    both = _recipe(tmp_path, "[vector]\n[summary]\n[plugins.length]\nunit = 3\n")
    assert both.plugins == {"length": {"unit": 3}}
    assert default_recipe() == Recipe.model_validate({"vector": {}, "summary": {}})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[vektor]\n", "vektor: there is no such recipe key; did you mean vector"),
        ('[vector]\nmodle = "m"\n', r"did you mean vector\.model\?"),
        ('text_field = ["title"]\n', r"did you mean text_fields\?"),
        ("text_fields = 3\n", "text_fields: .*tuple"),
        ("[vector\n", "cannot be read as TOML"),
        ('[[text]]\nform = "care"\nbackend = "g"\n', "the form 'care' needs a prompt"),
        (
            '[[text]]\nform = "advert"\nbackend = "gen"\n[generators.gem]\n'
            'kind = "local"\nmodel = "m"\n',
            r"no \[generators\.gen\]; did you mean 'gem'",
        ),
        ('[[text]]\nform = "tags"\n[[text]]\nform = "tags"\n', "written to 'text-tags'"),
        ('[[text]]\nform = "tags"\nlanguage = "de"\n', "extractive backend cannot translate"),
        ('[[text]]\nform = "tags"\nprompt = "{price}"\n', "only {language}, {max_chars}"),
        ('[[text]]\nform = "tags"\nmax_char = 3\n', "did you mean .*max_chars"),
        ('[generators.g]\nkind = "endpoint"\nmodel = "m"\n', "set url"),
        (
            '[generators.g]\nkind = "local"\nmodel = "m"\nbudget_money = 1\n',
            "needs prices: set price_in",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        _recipe(tmp_path, text)
    assert "recipe.toml" in str(caught.value)
    with pytest.raises(ConfigError, match="there is no recipe"):
        read_recipe(tmp_path / "absent.toml")


def test_flags_go_before_the_file() -> None:
    recipe = Recipe(text_fields=("a",), query={"match_all": {}}, plugins={"p": {"n": 1}})
    found = with_flags(recipe, text_fields=["b"], enrichers=["q"], options={"q": {"m": 2}})
    assert found.text_fields == ("b",)
    assert found.query == {"match_all": {}}
    assert found.plugins == {"q": {"m": 2}, "p": {"n": 1}}


class Plugin:
    name = "plugin"

    def enrich(self, documents: Any) -> list[dict[str, Any]]:
        return [{} for _ in documents]


def _hashes(recipe: Recipe, fields: tuple[str, ...] = ("title",), model: str = "m") -> list[str]:
    def load(name: str) -> Any:
        raise AssertionError("no model is needed to know the recipe")

    steps = build_steps(
        recipe, fields, model=model, load_encoder=load, load_enricher=lambda *_: Plugin()
    )
    return [step.recipe for step in steps]


def test_a_recipes_hash_follows_what_its_results_depend_on() -> None:
    recipe = with_flags(default_recipe(), enrichers=["plugin"])
    base = _hashes(recipe)
    assert base == _hashes(recipe)
    assert len(set(base)) == 3
    for other in (_hashes(recipe, ("title", "body")), _hashes(recipe, model="n")):
        assert all(one != two for one, two in zip(base, other, strict=True))
    options = with_flags(default_recipe(), enrichers=["plugin"], options={"plugin": {"a": 1}})
    assert _hashes(options)[:2] == base[:2]
    assert _hashes(options)[2] != base[2]
    alone = Recipe.model_validate({"summary": {}})
    assert _hashes(alone) == [base[1]]  # its result does not depend on whether vectors are stored


def test_a_step_reads_the_text_fields_alone() -> None:
    (step, *_) = build_steps(
        default_recipe(),
        ("title",),
        model="m",
        load_encoder=lambda _: None,  # type: ignore[arg-type, return-value]
        load_enricher=lambda *_: None,
    )

    def digest(source: dict[str, Any]) -> str:
        return step.hash(Document("1", None, b"", source))

    assert digest({"title": "a", "price": 1}) == digest({"title": "a", "price": 2})
    assert digest({"title": "a"}) != digest({"title": "b"})
    assert digest({"title": ["a", "b"]}) != digest({"title": "a, b"})
    assert digest({"title": "\ud800"})  # what JSON allows and UTF-8 does not
