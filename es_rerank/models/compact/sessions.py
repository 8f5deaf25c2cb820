"""Models on other runtimes: onnxruntime and OpenVINO, behind the extras of those names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.errors import ModelError
from es_rerank.models.compact.folder import Backend

Run = Callable[[Mapping[str, NDArray[np.int64]]], NDArray[Any]]


@dataclass(frozen=True)
class Output:
    """What a model answers, as transformers' has it. logits: (n, labels) float32 tensor."""

    logits: Any


class SessionModel:
    """A session of another runtime, called as a transformers model is: padded tensors in.

    inputs: which of ids, mask and types the model takes.
    """

    device = "cpu"

    def __init__(self, run: Run, inputs: frozenset[str]) -> None:
        self._run = run
        self._inputs = inputs

    def __call__(self, **given: Any) -> Output:
        """The logits of padded pairs."""
        import torch

        nothing = np.zeros(given["input_ids"].shape, np.int64)  # a tokenizer may give no types
        arrays = {key: given[key].numpy() if key in given else nothing for key in self._inputs}
        return Output(torch.from_numpy(np.asarray(self._run(arrays), np.float32)))


def open_session(folder: Path, backend: Backend) -> SessionModel:
    """A session on a folder's exported model. Raises ModelError."""
    path = folder / backend.file
    try:
        run, inputs = (open_onnx if backend.kind == "onnx" else open_openvino)(path)
    except ImportError:
        library = {"onnx": "onnxruntime", "openvino": "openvino"}[backend.kind]
        raise ModelError(
            f"{folder} is a model for {library}, which is not installed: install es-rerank with "
            f"the extra {backend.kind}"
        ) from None
    except Exception as error:  # each runtime raises classes of its own
        raise ModelError(
            f"{path} cannot be loaded ({str(error).strip().splitlines()[0]}): export it anew with "
            "`es-rerank model export`"
        ) from error
    return SessionModel(run, frozenset(inputs))


def open_onnx(path: Path) -> tuple[Run, list[str]]:
    """A session of onnxruntime, with as many threads as torch has."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return (
        lambda given: session.run(None, dict(given))[0],
        [each.name for each in session.get_inputs()],
    )


def open_openvino(path: Path) -> tuple[Run, list[str]]:
    """A compiled model of OpenVINO for the CPU, with as many threads as torch has."""
    import openvino
    import torch

    core = openvino.Core()
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = core.compile_model(str(path), "CPU", options)
    names = [each.get_any_name() for each in compiled.inputs]
    return lambda given: compiled(dict(given))[compiled.outputs[0]], names
