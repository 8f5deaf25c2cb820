"""Threads of numpy's linear algebra."""

from __future__ import annotations

from threadpoolctl import ThreadpoolController


def calm_numpy() -> None:
    """Keep numpy's own BLAS to one thread; torch's threads stay as they are.

    A window's products take less than a millisecond. Spread over threads, each waits for the
    slowest: on a machine whose cores are busy that is a scheduler's slice, some 20 ms, every time.
    """
    for library in ThreadpoolController().lib_controllers:
        if library.user_api == "blas" and "numpy" in library.filepath:
            library.set_num_threads(1)
