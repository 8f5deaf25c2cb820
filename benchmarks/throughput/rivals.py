"""Other libraries that run the same cross-encoder, each with one thread."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.form import say

BATCH = 32
Pairs = tuple[str, list[str]]
Way = Callable[[Pairs], NDArray[np.float64]]


def load(folder: Path, place: Path, max_tokens: int) -> dict[str, Way]:
    """Those that are installed, by name; sentence-transformers must be."""
    ways = {"CrossEncoder.predict": load_sentence_transformers(folder, max_tokens)}
    if not all(map(find_spec, ("onnx", "onnxscript"))):
        say("onnxruntime and OpenVINO are left out: onnx and onnxscript are not installed")
        return ways
    exported: Path | None = None
    for name, library, make in (
        ("onnxruntime int8", "onnxruntime", load_onnxruntime),
        ("OpenVINO int8", "openvino", load_openvino),
    ):
        if find_spec(library) is None or (library == "openvino" and find_spec("nncf") is None):
            say(f"{name} is left out: it is not installed")
            continue
        exported = exported or export(folder, place)
        ways[name] = make(exported, folder, max_tokens)
    return ways


def load_sentence_transformers(folder: Path, max_tokens: int) -> Way:
    """CrossEncoder.predict as it is, but for the logits instead of their sigmoid."""
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(
        str(folder), device="cpu", max_length=max_tokens, activation_fn=torch.nn.Identity()
    )

    def score(pairs: Pairs) -> NDArray[np.float64]:
        query, texts = pairs
        found = model.predict([(query, text) for text in texts], show_progress_bar=False)
        return np.asarray(found, np.float64)

    return score


def export(folder: Path, place: Path) -> Path:
    """The model as ONNX, of any number of pairs and tokens."""
    import torch
    from transformers import AutoModelForSequenceClassification

    path = place / "model.onnx"
    loaded: Any = AutoModelForSequenceClassification.from_pretrained(folder)
    inputs = {name: torch.ones(2, 8, dtype=torch.int64) for name in INPUTS}
    sizes = {name: {0: torch.export.Dim("pairs"), 1: torch.export.Dim("tokens")} for name in INPUTS}
    program = torch.onnx.export(
        loaded.eval(), (), kwargs=inputs, dynamic_shapes=sizes, dynamo=True, verbose=False
    )
    assert program is not None, "an export by dynamo returns its program"
    program.save(path)
    return path


INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def load_onnxruntime(path: Path, folder: Path, max_tokens: int) -> Way:
    """Dynamic int8, weights by channel."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    small = path.with_name("model.int8.onnx")
    quantize_dynamic(path, small, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(small, options, providers=["CPUExecutionProvider"])
    return by_batches(lambda given: session.run(None, given)[0], folder, max_tokens)


def load_openvino(path: Path, folder: Path, max_tokens: int) -> Way:
    """Int8 weights by nncf, activations quantised as they come."""
    import nncf
    import openvino

    core = openvino.Core()
    model = nncf.compress_weights(core.read_model(path), mode=nncf.CompressWeightsMode.INT8_SYM)
    compiled = core.compile_model(
        model,
        "CPU",
        {"INFERENCE_NUM_THREADS": 1, "DYNAMIC_QUANTIZATION_GROUP_SIZE": 32},
    )
    return by_batches(lambda given: next(iter(compiled(given).values())), folder, max_tokens)


def by_batches(run: Callable[[dict[str, Any]], Any], folder: Path, max_tokens: int) -> Way:
    """Batches of 32, alike lengths together, as CrossEncoder.predict makes them."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    def score(pairs: Pairs) -> NDArray[np.float64]:
        query, texts = pairs
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        scores = np.zeros(len(texts))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            given = tokenizer(
                [query] * len(rows), [texts[i] for i in rows],
                padding=True, truncation=True, max_length=max_tokens, return_tensors="np",
            )  # fmt: skip
            scores[rows] = run({name: given[name] for name in INPUTS})[:, 0]
        return scores

    return score
