"""The systemd unit: a command that exists, and an end that waits for the proxy's own."""

from __future__ import annotations

import configparser
from pathlib import Path

from es_rerank.config import Settings
from tests.cli.commands import walk

UNIT = Path(__file__).parents[3] / "deploy" / "systemd" / "es-rerank.service"


def read_unit() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read(UNIT)
    return unit["Service"]


def test_its_commands_exist() -> None:
    known = {path for path, _ in walk()}
    service = read_unit()
    assert tuple(service["ExecStart"].split()[3:]) in known
    assert tuple(service["ExecStartPre"].split()[3:]) in known


def test_it_waits_longer_than_the_proxy_drains() -> None:
    service = read_unit()
    assert float(service["TimeoutStopSec"]) > Settings().proxy.drain_s + 5
    assert service["KillMode"] == "mixed"
