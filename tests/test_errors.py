from __future__ import annotations

import re
from typing import Any

import pytest

from es_rerank import errors
from es_rerank.errors import EsRerankError

KINDS: list[Any] = [kind for kind in vars(errors).values() if isinstance(kind, type)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_ours_and_says_what_it_is(kind: type[EsRerankError]) -> None:
    assert issubclass(kind, EsRerankError)
    assert str(kind("the fix")) == "the fix"
    assert kind.__doc__


def test_the_tree_of_the_docstring_is_the_tree() -> None:
    """Each line names an error, below its parent, with its exit code."""
    told = re.findall(r"^[ │]*(?:[├└]── )?(\w+Error) +([\d-])", str(errors.__doc__), re.MULTILINE)
    assert {name for name, _ in told} == {kind.__name__ for kind in KINDS}
    for name, code in told:
        kind = getattr(errors, name)
        if code != "-":
            assert kind.exit_code == int(code), name
    assert issubclass(errors.RequestError, errors.ConfigError)


def test_codes_are_told_apart() -> None:
    """1 is for any failure; every other code belongs to one class and its children."""
    owners = [kind for kind in KINDS if "exit_code" in vars(kind)]
    assert len({kind.exit_code for kind in owners}) == len(owners)
    assert all(0 < kind.exit_code < 126 for kind in KINDS)
