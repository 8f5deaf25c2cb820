"""Pages that only loading has read, given back to the system.

Loading torch and a model maps some hundreds of megabytes of libraries and weights, of which serving
touches few again: a CUDA build's libraries on a machine without a card, weights that were copied
into packed form. `madvise(MADV_DONTNEED)` (madvise(2)) takes them out of the process; what is
needed after all comes back from the file at the first touch. A mapping that may be written to, or
of which a page was, is left alone: its pages are in no file.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator
from pathlib import Path

DONTNEED = 4
"""MADV_DONTNEED in linux/mman.h."""
MAPS = Path("/proc/self/smaps")
MAPPING = re.compile(
    r"(?P<start>[0-9a-f]+)-(?P<end>[0-9a-f]+) (?P<rights>\S{4}) \S+ \S+ (?P<inode>\d+)"
)
OWN_PAGES = re.compile(r"Anonymous: +(\d+) kB")


def release_pages() -> int:
    """Take the pages of files that are mapped to be read out of this process; how many mappings.

    Does nothing where that cannot be done: it spares memory, and nothing depends on it.
    """
    if not sys.platform.startswith("linux"):
        return 0
    try:
        mapped = MAPS.read_text(errors="surrogateescape")
        advise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return 0
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return sum(advise(start, end - start, DONTNEED) == 0 for start, end in find_clean(mapped))


def find_clean(smaps: str) -> Iterator[tuple[int, int]]:
    """The mappings in proc_pid_smaps(5)'s format that are as their files are: (start, end)."""
    start = end = 0
    for line in smaps.splitlines():
        if found := MAPPING.match(line):
            start, end = int(found["start"], 16), int(found["end"], 16)
            if "w" in found["rights"] or "r" not in found["rights"] or found["inode"] == "0":
                end = start
        elif (own := OWN_PAGES.match(line)) and own[1] == "0" and end > start:
            yield start, end
