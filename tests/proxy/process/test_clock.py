"""The wall clock jumps; searches go on, and none runs out of time for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.proxy.process.proxies import running, tables
from tests.proxy.search.test_handler import Cluster
from tests.proxy.wire import upstream

WHERE = ("/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime")


@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")
def test_a_clock_that_jumps_disturbs_nothing(tmp_path: Path) -> None:
    library = next(
        file for place in WHERE if (file := Path(place) / "libfaketimeMT.so.1").is_file()
    )
    clock = tmp_path / "clock"
    clock.write_text("+0")
    environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with upstream(Cluster()) as raw:
        settings = tables(raw.url, rerank={"timeout_ms": 20_000})
        with running(tmp_path, settings, environment=environment) as proxy:
            proxy.wait_until_applied()
            ready = proxy.logged("model ready")[0]["timestamp"]
            for jump in ("+400d", "-400d", "+0", "+1h", "-1h"):
                new = tmp_path / "new"
                new.write_text(jump)
                new.replace(clock)
                for words in ("red shoes", "blue shoes"):
                    assert proxy.find(words)[:2] == (200, "applied")
            (tmp_path / "new").write_text("+4000d")
            (tmp_path / "new").replace(clock)
            proxy.reload(settings)
            jumped = proxy.logged("was read again")[0]["timestamp"]
            assert int(jumped[:4]) > int(ready[:4]) + 9, "the clock never jumped"
            assert proxy.find()[:2] == (200, "applied")
            assert proxy.metric('es_rerank_fallbacks_total{reason="deadline"}') == 0
