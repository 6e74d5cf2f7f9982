"""A repository of Triton's: a plan to put into one, and what Triton's own schema reads of it.

No TensorRT but TensorRT-RTX builds here without a GPU, so the plans of TensorRT are a header, bytes
and a passport: nothing else is read of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema

from trtfast import passport
from trtfast.passport import Passport

CLASSES = ["espresso", "Würstchen", "cup"]
IMAGE = {"name": "image", "dtype": "float16", "shape": [-1, 3, 8, 8]}
LOGITS = {"name": "logits", "dtype": "float32", "shape": [-1, 3]}
BATCHES = ((1, 3, 8, 8), (8, 3, 8, 8), (32, 3, 8, 8))


def profiles(*ranges: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    return [dict(zip(("min", "opt", "max"), map(list, each), strict=True)) for each in ranges]


def plan_of(
    folder: Path,
    inputs: Sequence[dict[str, Any]] = ({**IMAGE, "profiles": profiles(BATCHES)},),
    outputs: Sequence[dict[str, Any]] = (LOGITS,),
    *,
    classes: list[str] | None = CLASSES,
    tag: bytes = b"ftrt",
    product: str = "TensorRT",
) -> Path:
    path = folder / "model.engine"
    data = tag + bytes(20) + bytes([10, 13, 3, 9]) + bytes(range(200))
    path.write_bytes(data)
    Passport(
        plan_sha256=passport.sha256(data),
        onnx_sha256=passport.sha256(b"onnx"),
        product=product,
        version="10.13.3.9",
        generation="trt10",
        trtfast="0.1.0",
        gpu="NVIDIA L4",
        compute_capability=89,
        options={},
        inputs=list(inputs),
        outputs=list(outputs),
        precision={},
        classes=classes,
    ).write(path)
    return path


def read(folder: Path) -> Any:
    """The configuration of the model whose version lies in a folder."""
    text = (folder.parent / "config.pbtxt").read_text("utf-8")
    return text_format.Parse(text, schema.ModelConfig())


def expected(text: str) -> Any:
    return text_format.Parse(text, schema.ModelConfig())


def files(folder: Path) -> list[str]:
    found = folder.rglob("*")
    return sorted(str(path.relative_to(folder)) for path in found if path.is_file())
