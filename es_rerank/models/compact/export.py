"""A cross-encoder as ONNX or as OpenVINO's own form, for any number and length of pairs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

from es_rerank.errors import ModelError
from es_rerank.models.compact.folder import (
    Backend,
    copy_beside,
    find_folder,
    require_original,
    write_backend,
)

Format = Literal["onnx", "openvino"]
FILES: dict[Format, str] = {"onnx": "model.onnx", "openvino": "model.xml"}
EXAMPLE = (3, 11)
"""Pairs and tokens of the example that is traced; no sizes that others could be taken for."""


def export(name: str, folder: Path, form: Format) -> None:
    """Write a cross-encoder's folder in the other form. Raises ModelError."""
    from es_rerank.models.cross_encoder import load_classifier

    require_original(name, "export")
    model = load_classifier(name)
    try:
        program, names = trace(model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (write_onnx if form == "onnx" else write_openvino)(program, names, folder / FILES[form])
    except ImportError as error:
        raise ModelError(
            f"exporting needs {error.name}, which is not installed: install es-rerank with the "
            f"extra {form}"
        ) from None
    copy_beside(find_folder(name), folder)
    write_backend(folder, Backend(form, FILES[form], name))


def trace(model: Any) -> tuple[Any, list[str]]:
    """The model's forward as torch.export has it, sizes open, and its inputs' names."""
    import torch

    class Logits(torch.nn.Module):
        """Token ids, mask and types, where it has types, to logits."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *given: Any) -> Any:
            return self.model(**dict(zip(names, given, strict=True))).logits

    names = ["input_ids", "attention_mask"]
    if getattr(model.config, "type_vocab_size", 0) > 1:
        names.append("token_type_ids")
    ids = torch.ones(EXAMPLE, dtype=torch.int64)
    given = (ids, *(torch.ones_like(ids) for _ in names[1:]))
    sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        model.set_attn_implementation("sdpa")
        program = torch.export.export(
            Logits().eval(), given, dynamic_shapes=((sizes,) * len(names),), strict=False
        )
    return program, names


def write_onnx(program: Any, names: list[str], path: Path) -> None:
    """By torch's exporter, all in one file."""
    import torch

    torch.onnx.export(
        program,
        f=path,
        input_names=names,
        output_names=["logits"],
        external_data=False,
        dynamo=True,
        verbose=False,
    )


def write_openvino(program: Any, names: list[str], path: Path) -> None:
    """By OpenVINO's, weights in fp32."""
    import openvino

    model = openvino.convert_model(program)
    for port, name in zip(model.inputs, names, strict=True):
        port.get_tensor().set_names({name})
    openvino.save_model(model, str(path), compress_to_fp16=False)
