from __future__ import annotations

from xml.etree import ElementTree

import pytest

from es_rerank.engine.jars import COMPILER_VERSION, HERE
from es_rerank.engine.kinds import KINDS, Kind

VERSIONS = {"compiler": COMPILER_VERSION} | {name: kind.version for name, kind in KINDS.items()}


@pytest.mark.parametrize("name", VERSIONS)
def test_maven_fetches_the_version_that_we_name(name: str) -> None:
    pom = ElementTree.parse(HERE / "maven" / f"{name}.xml")
    version = pom.find(".//{*}properties/{*}engine.version")
    assert version is not None
    assert version.text == VERSIONS[name]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_our_own_classes_are_shipped(kind: Kind) -> None:
    ours = [kind.launcher, *(name for name in kind.plugins if name.startswith("io.esrerank."))]
    for name in ours:
        path = HERE / "java" / kind.name / f"{name.replace('.', '/')}.java"
        assert path.is_file()
