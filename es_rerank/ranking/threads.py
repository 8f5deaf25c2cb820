"""Threads of numpy's linear algebra."""

from __future__ import annotations

import re

import scipy.linalg.lapack  # noqa: F401 - a library that is loaded later would not be found
from threadpoolctl import ThreadpoolController


def calm_numpy() -> None:
    """Keep numpy's and scipy's own BLAS to one thread; torch's threads stay as they are.

    A window's products take less than a millisecond. Spread over threads, each waits for the
    slowest: on a machine whose cores are busy that is a scheduler's slice, some 20 ms, every time.
    """
    for library in ThreadpoolController().lib_controllers:
        if library.user_api == "blas" and re.search("numpy|scipy", library.filepath):
            library.set_num_threads(1)
