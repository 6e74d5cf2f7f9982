"""An engine of a plan that another TensorRT built, from its ONNX model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import plans
import tiny
import trtfast
from trtfast import backend

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.* does not list .* as supported"),
]


@pytest.mark.parametrize("load", [trtfast.Engine, trtfast.load])
def test_plan_of_another_version_runs(load: Callable[..., trtfast.Engine], tmp_path: Path) -> None:
    model = tmp_path / "dense.onnx"
    onnx.save(tiny.dense(), model)
    plan = plans.of_other(trtfast.build(model))
    x = np.linspace(-1, 1, 32, dtype=np.float32).reshape(4, 8)
    expected = np.maximum(x @ onnx.numpy_helper.to_array(tiny.weight("w", 8, 4)), 0)
    with pytest.raises(trtfast.EngineIncompatibleError, match=plans.OTHER):
        load(plan)
    with load(plan, rebuild=True) as engine:
        np.testing.assert_allclose(engine.infer(x), expected, rtol=1e-2, atol=1e-2)
        assert engine.tensorrt.endswith(backend.select().version)
