"""The example package of docs/plugins.md, installed for a test."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "plugin"


def install_example(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the example on the path with the metadata that installing it writes."""
    setup = configparser.ConfigParser()
    setup.read(EXAMPLE / "setup.cfg")
    metadata = folder / "shop_ranking-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-ranking\nVersion: 1\n")
    lines = []
    for group, points in setup["options.entry_points"].items():
        lines += [f"[{group}]", points.strip()]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    (folder / "shop_ranking.py").write_text((EXAMPLE / "shop_ranking.py").read_text())
    monkeypatch.syspath_prepend(str(folder))
