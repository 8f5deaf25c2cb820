from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email import message_from_string
from email.message import Message
from fnmatch import fnmatch
from pathlib import Path

import pytest

from es_rerank import __version__

ROOT = Path(__file__).parent.parent
EXTRAS = set(
    "engine train eval sentiment onnx openvino ray graph redis otel parquet dev".split()  # noqa: SIM905
)
EXTRAS |= {"blend", "mlflow", "search", "wandb"}  # that go with train


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel of this working tree, built from a copy of it, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("es_rerank", "index_templates"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(folder), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return message_from_string(wheel.read(name).decode())


def test_every_file_of_the_package_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    source = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "es_rerank").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    source |= {
        f"es_rerank/{path.relative_to(ROOT).as_posix()}"
        for path in (ROOT / "index_templates").rglob("*.json")
    }
    source.discard("es_rerank/index_templates/README.md")
    assert source <= set(wheel.namelist()), sorted(source - set(wheel.namelist()))


@pytest.mark.parametrize(
    "pattern",
    [
        "es_rerank/py.typed",
        "es_rerank/index_templates/elasticsearch/es-rerank.json",
        "es_rerank/index_templates/opensearch/es-rerank-fields.json",
        "es_rerank/proxy/admin/compare.html",
        "es_rerank/engine/maven/opensearch.xml",
        "es_rerank/engine/*.java",
        "es_rerank/demo/catalogue/data/products.jsonl.gz",
        "es_rerank/demo/catalogue/data/qrels.txt",
        "es_rerank/demo/catalogue/tables/*.toml",
        "*.dist-info/licenses/LICENSE",
    ],
)
def test_what_is_needed_at_run_time_is_in_the_wheel(pattern: str, wheel: zipfile.ZipFile) -> None:
    found = [name for name in wheel.namelist() if fnmatch(name, pattern)]
    assert found
    assert all(wheel.getinfo(name).file_size or name.endswith("py.typed") for name in found)


def test_nothing_else_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert tops == {"es_rerank", f"es_rerank-{__version__}.dist-info"}


def test_the_command_is_installed(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith("/entry_points.txt"))
    entries = configparser.ConfigParser()
    entries.read_string(wheel.read(name).decode())
    assert dict(entries["console_scripts"]) == {"es-rerank": "es_rerank.cli.main:main"}


def test_the_metadata_is_filled_in(metadata: Message) -> None:
    assert metadata["Name"] == "es-rerank"
    assert metadata["Version"] == __version__
    assert "Apache-2.0" in {metadata["License-Expression"], metadata["License"]}
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Summary"]


def test_the_extras(metadata: Message) -> None:
    assert set(metadata.get_all("Provides-Extra", [])) == EXTRAS


def test_every_requirement_has_a_lower_bound(metadata: Message) -> None:
    for line in metadata.get_all("Requires-Dist", []):
        requirement = line.partition(";")[0]
        if not requirement.startswith(("es-rerank", "opentelemetry-")):
            assert re.search(r">=\s*\d", requirement), line
