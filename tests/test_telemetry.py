from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from prometheus_client import generate_latest

from es_rerank import __version__, telemetry
from es_rerank.telemetry import METRICS, configure_logging, get_logger


@pytest.fixture(autouse=True)
def structlog_as_before() -> Iterator[None]:
    """Give structlog its configuration back."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def log_of(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, level: str, form: str) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging(level, form)
    get_logger().info("model ready", model="m", took_s=1.5)
    get_logger().warning("slow")
    return stream.getvalue()


def test_one_json_object_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = log_of(monkeypatch, io.StringIO(), "info", "json").splitlines()
    first, second = map(json.loads, lines)
    assert first.pop("timestamp").endswith("Z")
    assert first == {"event": "model ready", "level": "info", "model": "m", "took_s": 1.5}
    assert (second["event"], second["level"]) == ("slow", "warning")


def test_auto_is_json_in_a_pipe_and_readable_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert log_of(monkeypatch, io.StringIO(), "info", "auto").startswith("{")
    shown = log_of(monkeypatch, Terminal(), "info", "auto")
    assert not shown.startswith("{")
    assert "model ready" in shown
    assert "model ready" in log_of(monkeypatch, io.StringIO(), "info", "console")


@pytest.mark.parametrize(
    ("level", "events"),
    [("debug", ["model ready", "slow"]), ("warning", ["slow"]), ("error", [])],
)
def test_levels(level: str, events: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = log_of(monkeypatch, io.StringIO(), level, "json").splitlines()
    assert [json.loads(line)["event"] for line in lines] == events


def test_an_exception_is_logged_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("info", "json")
    try:
        raise ValueError("broken")
    except ValueError:
        get_logger().exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]


LABELS = {"route", "outcome", "stage", "reason", "model", "kind", "device", "version"} | {
    *("result", "state", "part", "status", "cache")
}


def test_metrics_have_our_prefix_base_units_and_few_labels() -> None:
    metrics = list(METRICS.collect())
    assert len(metrics) >= 9
    for metric in metrics:
        assert re.fullmatch(r"es_rerank_[a-z_]+", metric.name)
        assert not re.search(r"_(ms|millis|kb|mb)$", metric.name)
        labels = {name for sample in metric.samples for name in sample.labels} - {"le"}
        assert labels <= LABELS, metric.name


def test_metrics_are_written_for_prometheus() -> None:
    before = METRICS.get_sample_value("es_rerank_fallbacks_total", {"reason": "test"}) or 0
    telemetry.FALLBACKS.labels("test").inc()
    text = generate_latest(METRICS).decode()
    assert f'es_rerank_fallbacks_total{{reason="test"}} {before + 1}' in text
    assert f'es_rerank_build_info{{version="{__version__}"}} 1.0' in text
    assert "python_info" not in text  # a registry of our own: nothing of other libraries


def test_lines_of_several_processes_do_not_mingle(tmp_path: Path) -> None:
    """Workers share stderr: each line must reach it whole."""
    code = (
        "from es_rerank.telemetry import configure_logging, get_logger\n"
        "configure_logging('info', 'json')\n"
        "for i in range(400): get_logger().info('told', number=i, text='x' * 200)\n"
    )
    log = tmp_path / "log"
    with log.open("ab") as stderr:
        writers = [subprocess.Popen([sys.executable, "-c", code], stderr=stderr) for _ in range(4)]
        assert [writer.wait(60) for writer in writers] == [0] * 4
    numbers = Counter(json.loads(line)["number"] for line in log.read_text().splitlines())
    assert numbers == dict.fromkeys(range(400), 4)
