"""CI builds a real engine from each model; no GPU is needed for that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import trtfast
import zoo
from trtfast import backend, passport


@pytest.mark.parametrize("name", zoo.CASES)
def test_model_builds_in_half_precision(name: str, engine_of: Callable[[str], Path]) -> None:
    plan = engine_of(name)
    library = backend.select()
    known = trtfast.Passport.of(plan)
    assert known is not None
    assert passport.plan_version(plan.read_bytes()) == known.version == library.version
    assert known.plan_sha256 == passport.sha256(plan.read_bytes())
    assert [spec["name"] for spec in known.inputs] == list(zoo.CASES[name].inputs())
    half = {"fp16": "float16", "bf16": "bfloat16"}[zoo.CASES[name].precision]
    assert known.precision["asked"] == zoo.CASES[name].precision
    assert known.precision["layers"][half] >= 1


def test_output_that_depends_on_data(tmp_path: Path) -> None:
    """TensorRT builds NonZero; TensorRT-RTX has no such layer, and the error names the node."""
    onnx = zoo.make_nonzero(tmp_path / "nonzero.onnx")
    if not backend.select().is_rtx:
        assert trtfast.build(onnx).exists()
        return
    with pytest.raises(trtfast.BuildError, match="find") as caught:
        trtfast.build(onnx)
    assert caught.value.node == "find"
    assert not onnx.with_suffix(".engine").exists()
