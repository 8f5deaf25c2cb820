from __future__ import annotations

import os
import subprocess
import sys
import time

from es_rerank.engine.process import end, is_running, started_at

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


def sleeper(code: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdout.close()
    return process


def test_a_start_is_stable_and_tells_processes_apart() -> None:
    process = sleeper("import time; print('ready', flush=True); time.sleep(60)")
    try:
        mine, other = started_at(os.getpid()), started_at(process.pid)
        assert mine is not None
        assert mine == started_at(os.getpid())
        assert mine != other
        assert not is_running(process.pid, mine)
    finally:
        process.kill()
        process.wait()
    assert started_at(process.pid) is None


def test_an_unreaped_process_does_not_run() -> None:
    process = sleeper("print('ready', flush=True)")
    deadline = time.monotonic() + 10
    while started_at(process.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert started_at(process.pid) is None  # although nobody has waited for it
    assert process.wait() == 0


def test_asking_is_enough_for_most() -> None:
    process = sleeper("import time; print('ready', flush=True); time.sleep(60)")
    end(process.pid, started_at(process.pid) or "", grace_s=10)
    assert process.wait() == -15


def test_a_stubborn_process_is_killed() -> None:
    process = sleeper(STUBBORN)
    end(process.pid, started_at(process.pid) or "", grace_s=0.2)
    assert process.wait() == -9


def test_another_process_of_the_same_id_is_left_alone() -> None:
    process = sleeper("import time; print('ready', flush=True); time.sleep(60)")
    end(process.pid, "an earlier one", grace_s=0.2)
    assert process.poll() is None
    process.kill()
    process.wait()
