"""Pages given back: those of files alone, which read the same afterwards."""

from __future__ import annotations

import mmap
import re
import sys
from pathlib import Path

import pytest

from es_rerank.proxy.scoring.pages import find_clean, release_pages

SMAPS = """\
7f0000000000-7f0000002000 r-xp 00000000 08:01 77 /usr/lib/libone.so
Rss: 8 kB
Anonymous: 0 kB
VmFlags: rd ex
7f0000002000-7f0000003000 r--p 00002000 08:01 77 /usr/lib/libone.so
Rss: 4 kB
Anonymous: 4 kB
7f0000003000-7f0000004000 rw-p 00003000 08:01 77 /usr/lib/libone.so
Anonymous: 0 kB
7f0000004000-7f0000005000 r--p 00000000 00:00 0
Anonymous: 0 kB
7f0000005000-7f0000006000 ---p 00000000 08:01 77 /usr/lib/libone.so
Anonymous: 0 kB
7f0000006000-7f0000009000 r--s 00000000 08:01 78 /models/the model.safetensors
Anonymous: 0 kB
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
Anonymous: 0 kB
"""


def test_only_what_is_as_its_file_is() -> None:
    first, last = (0x7F0000000000, 0x7F0000002000), (0x7F0000006000, 0x7F0000009000)
    assert list(find_clean(SMAPS)) == [first, last]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="madvise(2) as Linux has it")
def test_a_mapped_file(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(range(256)) * 16_384)  # 4 MiB
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        before = mapped[:]
        assert resident_kb(path) > 4000
        assert release_pages() > 0
        assert resident_kb(path) == 0
        assert mapped[:] == before


def resident_kb(path: Path) -> int:
    """Kilobytes of the file in this process."""
    maps = Path("/proc/self/smaps").read_text()
    found = re.search(rf"{re.escape(str(path))}\n(?:.*\n)*?Rss: +(\d+) kB", maps)
    assert found is not None
    return int(found[1])
