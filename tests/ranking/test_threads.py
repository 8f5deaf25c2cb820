from __future__ import annotations

import numpy as np
from threadpoolctl import ThreadpoolController

from es_rerank.ranking.threads import calm_numpy


def test_numpy_keeps_to_one_thread() -> None:
    libraries = [
        library
        for library in ThreadpoolController().lib_controllers
        if library.user_api == "blas" and "torch" not in library.filepath
    ]
    assert libraries
    for library in libraries:
        library.set_num_threads(2)
    calm_numpy()
    assert [library.get_num_threads() for library in libraries] == [1] * len(libraries)
    assert np.allclose(np.eye(300) @ np.eye(300), np.eye(300))
